"""Papers on many modalities: volumes, views, anchors that do not move, modalities that are missing."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from workbench import geometry
from workbench.objectives import heads, scores
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import Objective, Term, recipe
from workbench.papers import lab, measures
from workbench.papers.base import Measured, Own, Trial, experiment
from workbench.papers.lab import BOTTOM, LEFT, RIGHT, TOP, Arm, Part, Views, unit
from workbench.training.towers import Towers


def _three(trial: Trial) -> Views:
    return lab.given(trial, 3) or lab.cut(trial, top=TOP, left=LEFT, right=RIGHT)


def _tuple_recall(z: dict[str, Tensor], by: str) -> float:
    """Recall at 1 of the anchor among whole tuples, by their volume or by the sum of cosines."""
    anchor, *others = z.values()
    if by == "volume":
        return measures.hits(-scores.gram_volume(anchor, *others))
    return measures.hits(torch.stack([anchor @ o.T for o in others]).sum(0))


def _anchored(objective: Objective) -> Objective:
    """The contrast of the anchor with each other modality, all towers learning."""

    def contrast(batch: Batch, temperature: Tensor) -> Tensor:
        anchor, *others = (batch.unit(m) for m in batch.names)
        return torch.stack([heads.symmetric(anchor @ x.T / temperature) for x in others]).mean()

    objective.terms = [Term("contrast", 1.0, contrast)]
    return objective


@experiment(
    "gram",
    claim="Contrasting whole tuples by the volume they span finds the right tuple for an anchor better than pairwise "
    "cosines do.",
    maths=r"$$\mathrm{vol}(x_1,\dots,x_M)=\sqrt{\det XX^\top},\qquad "
    r"L=\tfrac12\big[\mathrm{CE}(-\mathrm{vol}/\tau)+\mathrm{CE}((-\mathrm{vol}/\tau)^\top)\big]$$",
    carrier="recipe gram; diagnostic gramian_volume",
    code="ispamm/GRAM",
    deviations="The matching head and its re-ranking are left out. Released code takes √|det| without a guard, whose "
    "gradient at collapse is NaN; here ε stands inside the root.",
    data="scikit-learn digits in three views: top half (anchor), left half, right half",
    quantity="recall at 1 of the anchor among whole tuples, each arm by its own score",
    least=0.02,
    control="both recipes on tuples paired at random: recall of the arms",
    positive="recall by cosines, untrained against trained towers",
    small="Perfect alignment costs log B exactly under this loss, for every wrong tuple is flat as well: the optimum "
    "pushes the two other modalities apart, and cosine retrieval between them is lost.",
    own=Own(3),
    yours="workbench papers gram --run --data YOUR_SET",
)
def gram(trial: Trial) -> Measured:
    """InfoNCE of the anchor with each modality against the volume of the tuple; then retrieval among all tuples.

    Beside the quantity: what happens between the two modalities that no term names, and the loss at perfect alignment.
    """
    views = _three(trial)
    anchor, a, b = views.train.x

    def cosines(z: dict[str, Tensor], part: Part) -> float:
        return _tuple_recall(z, "cosine")

    def volumes(z: dict[str, Tensor], part: Part) -> float:
        return _tuple_recall(z, "volume")

    def also(z: dict[str, dict[str, Tensor]], part: Part) -> dict[str, float]:
        same = unit(torch.randn(16, 8), dim=1)
        flat = recipe("gram", smoothing=0.0)(Batch(dict.fromkeys((anchor, a, b), same)))["loss"]
        out = {"loss at perfect alignment minus log B": float(flat.detach()) - math.log(16)}
        # as triangles do; and neither sees a sign
        area = recipe("triangle")(Batch(dict.fromkeys((anchor, a, b), same)))["loss"]
        out["the same of triangles"] = float(area.detach()) - math.log(16)
        z_, *rest = z["mechanism"].values()
        turned = geometry.volume(torch.stack([z_, *(-x for x in rest)], 1))
        out["volume with all but the anchor negated, less the volume"] = float(
            (turned - geometry.volume(torch.stack([z_, *rest], 1))).abs().mean()
        )
        for arm, rows in z.items():
            out[f"{a}→{b} recall at 10, {arm}"] = measures.recall(rows[a], rows[b], 10)
            out[f"cosine of {a} and {b}, {arm}"] = float((rows[a] * rows[b]).sum(1).mean())
            out[f"volume of matched tuples, {arm}"] = float(geometry.volume(torch.stack(list(rows.values()), 1)).mean())
        return out

    pairwise = Arm("infonce", prepare=_anchored)
    cold = (0.01, *lab.TEMPERATURES)  # the pairwise arm would sit at the cold end of the usual ones
    return lab.contest(trial, views, pairwise, Arm("gram", judge=volumes), cosines, also=also, temperatures=cold)


@experiment(
    "mv_dhel",
    claim="One term an item over all pairs of views, with negatives of the same view only, uses more of the space than "
    "the average of pairwise losses.",
    maths=r"$$L=-\frac1M\sum_i\log\frac{\tfrac12\sum_{l\ne l'}e^{\langle u_{il},u_{il'}\rangle/\tau}}"
    r"{\prod_l\sum_{j\ne i}e^{\langle u_{il},u_{jl}\rangle/\tau}}$$",
    carrier="recipes mv_dhel, mv_infonce; diagnostic effective_rank",
    code="pakoromilas/Multi-View-CL",
    deviations="Computed in log space: the released code multiplies raw sums and overflows. Its README leaves the "
    "minus sign out and lets j = i into the inner sum; the code, followed here, does not.",
    data="scikit-learn digits in four views: the quadrants",
    quantity="effective rank of a modality's test vectors (mean over modalities)",
    least=1.0,
    control="the baseline from another start: effective rank",
    positive="effective rank of towers with half the dimensions, against the baseline",
    small="Views here are quadrants with towers of their own, not augmentations through one encoder, and "
    "towers of 32 dimensions leave little space to win. Effective rank is free of scale, so a space that fell into one "
    "point counts as full (beside): read it with alignment and uniformity.",
    own=Own(2, every=True),
    yours="workbench papers mv_dhel --run --data YOUR_SET",
)
def mv_dhel(trial: Trial) -> Measured:
    """The average of all pairwise InfoNCE losses against MV-DHEL, temperature chosen by retrieval for both."""
    quadrants = {
        f"{v}_{h}": lambda x, i=i, j=j: x[:, i : i + 4, j : j + 4]
        for v, i in (("top", 0), ("bottom", 4))
        for h, j in (("left", 0), ("right", 4))
    }
    own = lab.given(trial, len(trial.data.modalities)) if trial.data is not None else None
    views = own or lab.cut(trial, **quadrants)

    def judge(z: dict[str, Tensor], part: Part) -> float:
        return sum(measures.effective_rank(x) for x in z.values()) / len(z)

    def also(z: dict[str, dict[str, Tensor]], part: Part) -> dict[str, float]:
        out = {}
        for arm, rows in z.items():
            out[f"recall at 10, {arm}"] = measures.all_recall(rows, part)
            out[f"uniformity, {arm}"] = sum(float(geometry.uniformity(x)) for x in rows.values()) / len(rows)
            first, second, *_ = rows.values()
            out[f"matched distance, {arm}"] = float(geometry.alignment(first, second))
        return out

    def learned(arm: Arm, t: float, model: Towers | None = None) -> Towers:
        return lab.learn(arm, views.train, temperature=t, steps=trial.steps(400), seed=trial.seed, model=model)

    found = lab.contest(
        trial,
        views,
        Arm("infonce"),
        Arm("mv_dhel"),
        judge,
        choose=measures.all_recall,
        also=also,
        control="restart",
        temperatures=(0.03, 0.1, 0.3, 0.5, 1.0),
        poor=lambda t: learned(Arm("infonce"), t, lab.towers(views.train, lab.DIM // 2)),
    )
    # without negatives the space collapses, and a measure free of scale takes what is left for a full one
    flat = lab.rows(learned(Arm("align_uniform", {"weight": 0.0}), 1.0), views.test)
    return replace(
        found, also={**found.also, "a collapsed space: matches are only pulled together": judge(flat, views.test)}
    )


@experiment(
    "languagebind",
    claim="Two modalities that were never seen together find each other, if each was bound to the same frozen anchor.",
    maths=r"$$L=\mathrm{symCE}(\langle z_a,\mathrm{sg}\,z_t\rangle/\tau),\quad "
    r"\text{then } \langle z_a,z_b\rangle \text{ without ever training on } (a,b)$$",
    carrier="recipe bind; train.freeze",
    code="PKU-YuanGroup/LanguageBind",
    deviations="Whole towers learn instead of low-rank updates of a pretrained one; batches of 128.",
    data="scikit-learn digits: the anchor is a fixed projection of the whole digit to 16 numbers; left halves of one "
    "half of the items, right halves of the other",
    quantity="recall at 10 from left to right halves",
    least=0.1,
    control="a frozen anchor for each modality that shares nothing with the other's, and two learned ones: recall",
    positive="recall at 10 from left halves to the anchor, untrained against trained",
    small="",
    own=Own(3),
    yours="workbench papers languagebind --run --data YOUR_SET",
)
def languagebind(trial: Trial) -> Measured:
    """Each modality against an anchor it trains with, on items of its own; against the same with one frozen anchor."""
    if (views := lab.given(trial, 3)) is None:
        g = torch.Generator().manual_seed(0)
        turn = torch.randn(64, 16, generator=g)
        views = lab.cut(trial, anchor=lambda x: x.flatten(1) @ turn, left=LEFT, right=RIGHT)
    anchor, a, b = views.train.x
    n = len(views.train) // 2
    order = torch.randperm(2 * n, generator=torch.Generator().manual_seed(trial.seed))
    halves = {a: views.train.take(order[:n]), b: views.train.take(order[n:])}
    steps = trial.steps(300)
    width = views.train.x[anchor].shape[1]
    still = nn.Linear(width, lab.DIM, bias=False).requires_grad_(False)  # the anchor's own vectors, brought to width

    def bound(m: str, temperature: float, mine: nn.Module | None, frozen: bool, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        tower, part = lab.mlp(views.train.x[m].shape[1]), halves[m]
        held = mine or lab.mlp(width)
        objective = recipe("bind" if frozen else "infonce", temperature=temperature)

        def loss(index: Tensor, step: int) -> Tensor:
            return objective(Batch({anchor: held(part.x[anchor][index]), m: tower(part.x[m][index])}))["loss"]

        modules = [tower, objective] if frozen else [tower, objective, held]
        lab.fit(modules, loss, n, steps=steps, seed=seed)
        return tower

    @torch.no_grad()
    def found(pair: tuple[nn.Module, nn.Module], part: Part) -> float:
        return measures.recall(unit(pair[0](part.x[a]), dim=1), unit(pair[1](part.x[b]), dim=1), 10)

    def arm(frozen: bool, shared: bool = True) -> tuple[tuple[nn.Module, nn.Module], float]:
        def make(t: float) -> tuple[nn.Module, nn.Module]:
            torch.manual_seed(trial.seed + 77)
            other = still if shared else nn.Linear(width, lab.DIM, bias=False).requires_grad_(False)
            return (
                bound(a, t, still if frozen else None, frozen, trial.seed),
                bound(b, t, other if frozen else None, frozen, trial.seed + 100),
            )

        return lab.best(trial, (0.03, 0.1), make, lambda pair: found(pair, views.validation))

    apart, _ = arm(False)
    joined, _ = arm(True)
    strangers, _ = arm(True, shared=False)
    torch.manual_seed(trial.seed)
    fresh = lab.mlp(views.train.x[a].shape[1])
    with torch.no_grad():
        t = unit(still(views.test.x[anchor]), dim=1)
        before, after = (measures.recall(unit(m(views.test.x[a]), dim=1), t, 10) for m in (fresh, joined[0]))
        rows = {
            name: {m: unit(tower(views.test.x[m]), dim=1) for m, tower in zip((a, b), pair, strict=True)}
            for name, pair in (("baseline", apart), ("mechanism", joined))
        }
    base, mechanism = found(apart, views.test), found(joined, views.test)
    return Measured(
        base,
        mechanism,
        (base, found(strangers, views.test)),
        (before, after),
        {"recall at 10 by chance": 10 / len(views.test)},
        rows,
        views.test.y,
    )


@experiment(
    "mmg_ego4d",
    claim="With modalities aligned and dropped in training, a classifier taught in one modality serves in another.",
    maths=r"$$L=\mathrm{CE}(f(\textstyle\sum_{m\in S}z_m))+\sum_{m<m'}\mathrm{InfoNCE}(z_m,z_{m'})+"
    r"\sum_{m\ne m'}\mathrm{CE}(-\|q^{m'}-p^{m}_c\|^2)$$",
    carrier="recipe infonce; train.drop",
    deviations="No code was found: modality dropout, pairwise alignment and prototypes across modalities are put "
    "together from the abstract, all weights 1.",
    data="scikit-learn digits: top, bottom and left halves, 20 labelled items a class",
    quantity="accuracy with the classifier of one modality on another (mean over ordered pairs)",
    least=0.05,
    control="both on labels dealt at random: accuracy across modalities",
    margin=0.05,
    positive="accuracy within a modality, against the share of the commonest class",
    small="",
    own=Own(2, label=True, every=True),
    yours="workbench papers mmg_ego4d --run --data YOUR_SET --label CLASS",
)
def mmg_ego4d(trial: Trial) -> Measured:
    """A fused classifier alone against one with dropout, alignment and cross-modal prototypes; every cell of
    modality taught × modality tested.
    """
    own = lab.given(trial, len(trial.data.modalities)) if trial.data is not None else None
    views = own or lab.cut(trial, top=TOP, bottom=BOTTOM, left=LEFT)
    assert views.train.y is not None
    assert views.test.y is not None
    truth, classes = views.test.y, int(max(p.y.max() for p in (views.train, views.validation, views.test))) + 1  # type: ignore[union-attr]
    g = torch.Generator().manual_seed(trial.seed)
    order = torch.randperm(len(views.train), generator=g)
    # as few labels as a few-shot task has, as many items without as the training part holds
    shots = torch.cat([order[views.train.y[order] == c][:20] for c in range(classes)])
    names = list(views.train.x)

    def trained(temperature: float, whole: bool, labels: Tensor) -> lab.Towers:
        torch.manual_seed(trial.seed)
        model, head = lab.towers(views.train), nn.Linear(lab.DIM, classes)
        align = recipe("infonce", temperature=temperature)
        draw = torch.Generator().manual_seed(trial.seed)

        def loss(index: Tensor, step: int) -> Tensor:
            few = shots[index % len(shots)]
            z = {m: unit(x, dim=1) for m, x in model({m: v[few] for m, v in views.train.x.items()}).items()}
            keep = [m for m in names if not whole or torch.rand(1, generator=draw) < 0.5] or names[:1]
            fused = torch.stack([z[m] for m in keep]).mean(0)
            total = nn.functional.cross_entropy(head(fused) / temperature, labels[few])
            if not whole:
                return total
            total = total + align(Batch(model({m: v[index] for m, v in views.train.x.items()})))["loss"]
            onehot = nn.functional.one_hot(labels[few], classes).float()
            for a in names:
                p = onehot.T @ z[a] / onehot.sum(0).clamp_min(1)[:, None]
                for b in names:
                    if a != b:
                        total = total + nn.functional.cross_entropy(
                            -(torch.cdist(z[b], p) ** 2) / temperature, labels[few]
                        )
            return total

        lab.fit([model, head, align], loss, len(views.train), steps=trial.steps(250), seed=trial.seed)
        return model

    def cells(model: lab.Towers, labels: Tensor, part: Part) -> tuple[float, float]:
        """Nearest prototype taught in one modality: accuracy across, and within."""
        z, s = lab.rows(model, part), lab.rows(model, views.train.take(shots))
        onehot = nn.functional.one_hot(labels[shots], classes).float()
        hit = {}
        for a in names:
            p = unit(onehot.T @ s[a], dim=1)
            for b in names:
                hit[a, b] = measures.right(z[b] @ p.T, part.y)
        across = [v for (a, b), v in hit.items() if a != b]
        return sum(across) / len(across), sum(hit[m, m] for m in names) / len(names)

    y = views.train.y
    tune = (0.1, 0.3)
    plain, t0 = lab.best(trial, tune, lambda t: trained(t, False, y), lambda m: cells(m, y, views.validation)[0])
    whole, t1 = lab.best(trial, tune, lambda t: trained(t, True, y), lambda m: cells(m, y, views.validation)[0])
    dealt = y[torch.randperm(len(y), generator=g)]
    chance = tuple(cells(trained(t, w, dealt), dealt, views.test)[0] for t, w in ((t0, False), (t1, True)))
    most = float(torch.bincount(truth).max() / len(truth))
    within = cells(plain, y, views.test)[1]
    return Measured(
        cells(plain, y, views.test)[0],
        cells(whole, y, views.test)[0],
        (chance[0], chance[1]),
        (most, within),
        {"within a modality, baseline": within, "within a modality, mechanism": cells(whole, y, views.test)[1]},
        {"baseline": lab.rows(plain, views.test), "mechanism": lab.rows(whole, views.test)},
        truth,
    )
