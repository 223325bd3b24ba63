"""Papers that bend the contrast: softer targets, terms within a modality, prototypes, a frozen side."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from workbench import geometry
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import Objective, recipe
from workbench.objectives.recipes.softened import kmeans
from workbench.papers import lab, measures
from workbench.papers.base import Measured, Own, Trial, experiment
from workbench.papers.lab import LEFT, RIGHT, Arm, Part, unit

PAIRED = "both recipes on pairs made at random: the quantity"
TRAINED = "the quantity, untrained against trained towers"


def only(objective: Objective, *names: str) -> Objective:
    """An objective with some of its terms."""
    objective.terms = [t for t in objective.terms if t.name in names]
    return objective


def _halves(trial: Trial) -> lab.Views:
    return lab.given(trial, 2) or lab.cut(trial, left=LEFT, right=RIGHT)


@experiment(
    "tcl",
    claim="Contrast within each modality beside the contrast across makes a momentum-taught model retrieve better.",
    maths=r"$$L=\tfrac13\big[\mathrm{CE}(g^Ik^{T\top}/\tau,\tilde y)+\mathrm{CE}(g^Ik^{I\top}/\tau,\mathbb "
    r"1)+L_{\mathrm{LMI}}\big]"
    r",\quad \tilde y=(1-\alpha)\mathbb 1+\alpha\,\mathrm{softmax}(\text{teacher})$$",
    carrier="recipe tcl",
    code="uta-smile/TCL",
    deviations="In-batch negatives instead of queues of 65,536; parts against wholes, matching and masked words are "
    "left out, as halves of digits have neither parts nor words.",
    data="scikit-learn digits: left and right halves",
    quantity="recall at 10 over both directions",
    least=0.02,
    control=PAIRED,
    positive=TRAINED,
    small="Both views within a modality are the same picture through two models: without augmentation the term within "
    "a modality teaches little.",
    own=Own(2),
    yours="workbench papers tcl --run --data YOUR_SET",
)
def tcl(trial: Trial) -> Measured:
    """The recipe's cross-modal term alone against the whole recipe, both with the same averaged teacher."""

    def also(z: dict[str, dict[str, Tensor]], part: Part) -> dict[str, float]:
        out = {}
        for arm, rows in z.items():
            out[f"uniformity, {arm}"] = sum(float(geometry.uniformity(x)) for x in rows.values()) / len(rows)
            if part.y is not None:
                out[f"class of neighbours, {arm}"] = measures.leave_one_out(next(iter(rows.values())), part.y)
        return out

    alone = Arm("tcl", prepare=lambda o: only(o, "cross_modal"))
    return lab.contest(trial, _halves(trial), alone, Arm("tcl"), lambda z, p: measures.all_recall(z, p), also=also)


@experiment(
    "clsr",
    claim="A temperature that softens for rows with many near-duplicates, with separation and reconstruction within "
    "the latent space, retrieves better than a constant one.",
    maths=r"$$\tau_i=\tau_0\,(1+\gamma h_i),\quad h_i=\overline{\max(0,\cos(t_i,t_j))},\qquad "
    r"L=L_{\text{inter}}+\tfrac12 L_{\text{intra}}+\tfrac1{10} L_{\text{rec}}$$",
    carrier="recipe clsr",
    deviations="Only the abstract could be read: the temperature rule and the weights are ours.",
    data="emoji: English names with tags, and colour drawings, as frozen features",
    quantity="recall at 10 over both directions",
    least=0.02,
    control=PAIRED,
    positive=TRAINED,
    small="",
    own=Own(2),
    yours="workbench papers clsr --run --data YOUR_SET",
)
def clsr(trial: Trial) -> Measured:
    """InfoNCE against the recipe; the anchor, in whose space duplicates count, is the text."""

    def also(z: dict[str, dict[str, Tensor]], part: Part) -> dict[str, float]:
        first = {arm: next(iter(rows.values())) for arm, rows in z.items()}
        n = len(part)
        return {
            f"mean cosine of texts, {arm}": float(((x @ x.T).sum() - n) / (n * (n - 1))) for arm, x in first.items()
        }

    views = lab.given(trial, 2) or lab.emoji(trial, "text", "color")
    return lab.contest(trial, views, Arm("infonce"), Arm("clsr"), lambda z, p: measures.all_recall(z, p), also=also)


@experiment(
    "fg_clip2",
    claim="Pushing a caption's nearest captions away makes a model choose the right one among look-alikes.",
    maths=r"$$L=L_{\mathrm{SigLIP}}+0.1\cdot\overline{\log\sum_{k\in\text{top }10}e^{\cos(t_i,t_k)}},"
    r"\quad \cos>0.95 \text{ left alone}$$",
    carrier="recipe fgclip2",
    code="360CVGroup/FG-CLIP",
    deviations="Only the textual intra-modal term; regions, written hard negatives and the adaptive rank margin are "
    "left out.",
    data="emoji: English names with tags, and colour drawings, as frozen features",
    quantity="accuracy of choosing a picture's text among it and its ten most similar texts",
    least=0.02,
    control=PAIRED,
    positive=TRAINED,
    small="A few hundred test items; names of emoji are seldom as alike as captions of regions.",
    own=Own(2),
    yours="workbench papers fg_clip2 --run --data YOUR_SET",
)
def fg_clip2(trial: Trial) -> Measured:
    """SigLIP against SigLIP with the term; the look-alikes are those of the frozen text features."""
    views = lab.given(trial, 2) or lab.emoji(trial, "text", "color")
    text, picture = views.train.x

    def choice(z: dict[str, Tensor], part: Part) -> float:
        t = unit(part.x[text], dim=1)
        near = (t @ t.T).fill_diagonal_(-2).topk(min(10, len(part) - 1), 1).indices
        own = (z[picture] * z[text]).sum(1, keepdim=True)
        others = (z[text][near] @ z[picture][:, :, None])[..., 0]
        return float((own > others).all(1).float().mean())

    def also(z: dict[str, dict[str, Tensor]], part: Part) -> dict[str, float]:
        out = {}
        for arm, rows in z.items():
            s = (rows[text] @ rows[text].T).fill_diagonal_(-2)
            out[f"cosine of the ten nearest texts, {arm}"] = float(s.topk(min(10, len(part) - 1), 1).values.mean())
            out[f"recall at 10, {arm}"] = measures.all_recall(rows, part)
        return out

    cold = (0.01, *lab.TEMPERATURES)  # both arms would sit at the cold end of the usual ones
    return lab.contest(trial, views, Arm("siglip"), Arm("fgclip2"), choice, also=also, temperatures=cold)


@experiment(
    "protoclip",
    claim="Classifying each modality into the other's clusters groups the space by meaning more than pairs alone do.",
    maths=r"$$L=L_{\mathrm{CLIP}}+\tfrac12\big[\mathrm{CE}(s\,xB^{I\top},\mathrm{softmax}(C^T_{l}C^{T\top}/.01))+\dots\big],"
    r"\quad B^I_k=\overline{x_i : l^T_i=k}$$",
    carrier="recipe protoclip",
    code="megvii-research/protoclip",
    deviations="Clusters of a rolling memory instead of episodes of 200,000 samples; no heads of their own, no "
    "external "
    "teacher.",
    data="scikit-learn digits: left and right halves",
    quantity="agreement of k-means with the classes (adjusted Rand index, mean over modalities)",
    least=0.02,
    control=PAIRED,
    positive=TRAINED,
    small="",
    own=Own(2, label=True),
    yours="workbench papers protoclip --run --data YOUR_SET --label CLASS",
)
def protoclip(trial: Trial) -> Measured:
    """InfoNCE against the recipe, temperature chosen by retrieval for both; k-means with a cluster a class."""

    def judge(z: dict[str, Tensor], part: Part) -> float:
        assert part.y is not None
        classes, found = int(part.y.max()) + 1, []
        for x in z.values():
            found.append(measures.adjusted_rand(kmeans(x, classes)[1], part.y))
        return sum(found) / len(found)

    def also(z: dict[str, dict[str, Tensor]], part: Part) -> dict[str, float]:
        out: dict[str, float] = {}
        for arm, rows in z.items():
            a, b, *_ = rows.values()
            out |= {f"gap, {arm}": measures.gap(a, b), f"recall at 10, {arm}": measures.all_recall(rows, part)}
        return out

    settings = {"clusters": 40, "memory": trial.count(768, 64)}
    return lab.contest(
        trial, _halves(trial), Arm("infonce"), Arm("protoclip", settings), judge, choose=measures.all_recall, also=also
    )


# -- a frozen side -----------------------------------------------------------------------------------------------------


@experiment(
    "cwcl",
    claim="With every item positive by its similarity in the frozen modality, a new tower transfers better to classes "
    "than with one-hot pairs.",
    maths=r"$$w_{ij}=\tfrac12\cos(q_i,q_j)+\tfrac12,\qquad L=-\frac1N\sum_i\frac1{\sum_j w_{ij}}\sum_j w_{ij}\log "
    r"p_{ij}+L_{\mathrm{CL}}$$",
    carrier="recipe cwcl",
    code="hwjustin/CellCLIP",
    deviations="No code of the authors was found; the formula is confirmed in a follow-up's code.",
    data="scikit-learn digits: right halves through a tower taught with classes and frozen, left halves to learn from "
    "pairs only",
    quantity="accuracy of new left halves with the class means of the frozen side",
    least=0.01,
    control=PAIRED,
    positive="the one-hot arm, untrained against trained: accuracy",
    small="With a batch of 128 and weights mostly in .4 to 1 the targets are nearly even; at a "
    "temperature of 0.01 that loses (beside).",
    own=Own(2, label=True),
    yours="workbench papers cwcl --run --data YOUR_SET --label CLASS   (the first modality is the frozen one)",
)
def cwcl(trial: Trial) -> Measured:
    """Locked-tower training with one-hot pairs against continuous weights; beside it, both at temperatures 0.02 and
    0.01, and the weights to the fourth power.
    """
    own = lab.given(trial, 2)
    views = own or lab.cut(trial, right=RIGHT, left=LEFT)
    frozen, new = views.train.x
    parts = (views.train, views.validation, views.test)
    assert all(p.y is not None for p in parts)
    still = [p.x[frozen] for p in parts]
    if own is None:
        torch.manual_seed(trial.seed)
        teacher, head = lab.mlp(still[0].shape[1]), nn.Linear(lab.DIM, 10)
        lab.fit(
            [teacher, head],
            lambda i, s: nn.functional.cross_entropy(head(teacher(still[0][i])), views.train.y[i]),  # type: ignore[index]
            len(views.train),
            steps=trial.steps(300),
            seed=trial.seed,
        )
        with torch.no_grad():
            still = [unit(teacher(x), dim=1) for x in still]
    classes = int(max(int(p.y.max()) for p in parts)) + 1  # type: ignore[union-attr]
    means = unit(nn.functional.one_hot(views.train.y, classes).float().T @ still[0], dim=1)  # type: ignore[arg-type]

    def train(name: str, t: float, steps: int, wrong: bool = False, **settings: Any) -> nn.Module:
        torch.manual_seed(trial.seed)
        tower = lab.mlp(views.train.x[new].shape[1], still[0].shape[1])
        objective = recipe(name, temperature=t, learn_temperature=False, **settings)
        x = views.train.x[new]
        if wrong:
            x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(trial.seed))]
        lab.fit(
            [tower],
            lambda i, s: objective(Batch({frozen: still[0][i], new: tower(x[i])}))["loss"],
            len(x),
            steps=steps,
            seed=trial.seed,
        )
        return tower

    @torch.no_grad()
    def judge(tower: nn.Module, k: int = 2) -> float:
        return measures.right(unit(tower(parts[k].x[new]), dim=1) @ means.T, parts[k].y)

    steps, grid = trial.steps(300), (0.03, 0.1, 0.3)
    hard, t0 = lab.best(trial, grid, lambda t: train("bind", t, steps), lambda m: judge(m, 1))
    soft, t1 = lab.best(trial, grid, lambda t: train("cwcl", t, steps), lambda m: judge(m, 1))
    wrong = (judge(train("bind", t0, steps, True)), judge(train("cwcl", t1, steps, True)))
    cold = {
        f"{word} at temperature {t}": judge(train(name, t, steps))
        for t in (0.02, 0.01)
        for word, name in (("one-hot", "bind"), ("continuous", "cwcl"))
    } | {
        "weights to the fourth power": judge(train("cwcl", t1, steps, power=4.0)),
        "temperature of the baseline": t0,
        "temperature of the mechanism": t1,
    }
    with torch.no_grad():
        rows = {
            arm: {frozen: unit(still[2], dim=1), new: unit(m(views.test.x[new]), dim=1)}
            for arm, m in (("baseline", hard), ("mechanism", soft))
        }
    base = judge(hard)
    truth = views.test.y
    return Measured(
        base,
        judge(soft),
        wrong,
        (judge(train("bind", t0, 0)), base),
        cold,
        rows,
        truth,
    )
