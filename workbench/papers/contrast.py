"""Papers that bend the contrast: softer targets, terms within a modality, prototypes, subsequences as positives."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from workbench.objectives import geometry
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import Objective, recipe
from workbench.objectives.recipes.softened import kmeans
from workbench.papers import lab
from workbench.papers.base import Measured, Own, Trial, experiment
from workbench.papers.lab import LEFT, RIGHT, Arm, Part, unit

bce = nn.functional.binary_cross_entropy_with_logits
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
                out[f"class of neighbours, {arm}"] = lab.leave_one_out(next(iter(rows.values())), part.y)
        return out

    alone = Arm("tcl", prepare=lambda o: only(o, "cross_modal"))
    return lab.contest(trial, _halves(trial), alone, Arm("tcl"), lambda z, p: lab.all_recall(z, p), also=also)


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
    return lab.contest(trial, views, Arm("infonce"), Arm("clsr"), lambda z, p: lab.all_recall(z, p), also=also)


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
            out[f"recall at 10, {arm}"] = lab.all_recall(rows, part)
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
            torch.manual_seed(0)
            found.append(lab.adjusted_rand(kmeans(x, classes)[1], part.y))
        return sum(found) / len(found)

    def also(z: dict[str, dict[str, Tensor]], part: Part) -> dict[str, float]:
        out: dict[str, float] = {}
        for arm, rows in z.items():
            a, b, *_ = rows.values()
            out |= {f"gap, {arm}": lab.gap(a, b), f"recall at 10, {arm}": lab.all_recall(rows, part)}
        return out

    settings = {"clusters": 40, "memory": trial.count(768, 64)}
    return lab.contest(
        trial, _halves(trial), Arm("infonce"), Arm("protoclip", settings), judge, choose=lab.all_recall, also=also
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
    small="With a batch of 128 and weights mostly in .4 to 1 the targets are nearly even, and at a small temperature "
    "that loses badly.",
    own=Own(2, label=True),
    yours="workbench papers cwcl --run --data YOUR_SET --label CLASS   (the first modality is the frozen one)",
)
def cwcl(trial: Trial) -> Measured:
    """Locked-tower training with one-hot pairs against continuous weights; beside it, both at temperature 0.02 and the
    weights to the fourth power.
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
        return lab.right(unit(tower(parts[k].x[new]), dim=1) @ means.T, parts[k].y)

    steps, grid = trial.steps(300), (0.03, 0.1, 0.3)
    hard, t0 = lab.best(trial, grid, lambda t: train("bind", t, steps), lambda m: judge(m, 1))
    soft, t1 = lab.best(trial, grid, lambda t: train("cwcl", t, steps), lambda m: judge(m, 1))
    wrong = (judge(train("bind", t0, steps, True)), judge(train("cwcl", t1, steps, True)))
    cold = {
        "one-hot at temperature 0.02": judge(train("bind", 0.02, steps)),
        "continuous at temperature 0.02": judge(train("cwcl", 0.02, steps)),
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


# -- strings -----------------------------------------------------------------------------------------------------------

FRAGMENT, STRIDE, READ, ERRORS = 240, 120, 80, 0.03


@cache
def genes() -> list[Tensor]:
    """The 16S rRNA genes of the shipped set, one a genus, as letters 0 … 3."""
    import pandas as pd

    from workbench.datasets import folder

    letters = pd.read_parquet(folder() / "dna.parquet")["sequence"]
    return [torch.tensor([["ACGT".index(c) for c in s]]).long()[0] for s in letters]


class _Reader(nn.Module):
    """Letters (B, L) to (B, d): two convolutions over one-hot letters, averaged over places."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(4, 64, 9, padding=4), nn.GELU(), nn.Conv1d(64, 64, 5, padding=2), nn.GELU())
        self.head = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        z = self.body(nn.functional.one_hot(x, 4).float().transpose(1, 2))
        return self.head(z.mean(2))


def counts(x: Tensor, k: int) -> Tensor:
    """How often each word of k letters occurs: (B, L) → (B, 4^k), unit rows."""
    powers = 4 ** torch.arange(k)
    words = (x.unfold(1, k, 1) * powers).sum(-1)
    return unit(torch.zeros(len(x), 4**k).scatter_add_(1, words, torch.ones(words.shape)), dim=1)


@experiment(
    "dna_esa",
    claim="Contrasting fragments with pieces of themselves puts reads next to where they come from, also in "
    "genes never "
    "seen.",
    maths=r"$$L=\mathrm{CE}(\cos(f(x_{\text{fragment}}),f(x_{\text{piece}}))/\tau)$$",
    carrier="recipe infonce over one encoder",
    code="KennethEnevoldsen/dna2vec",
    deviations="Two convolutions instead of a transformer over byte pairs; fragments of 240 and reads of 80 "
    "letters; no "
    "verification by local alignment after the search.",
    data="real 16S rRNA genes of 304 genera; test genera are never trained on; reads with 3 % of letters changed",
    quantity="recall at 10 of a fragment that holds the read, among all fragments of the test genes",
    least=0.05,
    control="reads whose letters were shuffled: recall of both arms",
    margin=0.05,
    positive="recall of the contrast, untrained against trained",
    small="16S genes are alike along most of their length. Mind the counts beside it: words of four letters, "
    "counted and "
    "not trained at all, find far more than this small encoder.",
    alone="it needs strings to cut pieces from, and a set holds vectors",
)
def dna_esa(trial: Trial) -> Measured:
    """The same encoder taught the fragment's 4-letter counts, against the contrast; beside it, the counts alone."""
    g = torch.Generator().manual_seed(trial.seed)
    found = genes()
    order = torch.randperm(len(found), generator=g).tolist()[: trial.count(len(found), 24)]
    n = len(order)
    train, tune, test = order[: n * 6 // 10], order[n * 6 // 10 : n * 75 // 100], order[n * 75 // 100 :]

    def changed(x: Tensor) -> Tensor:
        at = torch.rand(x.shape, generator=g) < ERRORS
        return torch.where(at, torch.randint(4, x.shape, generator=g), x)

    def fragments(index: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Fragments (F, 240), the gene of each and where in it each begins."""
        x, gene, start = [], [], []
        for k in index:
            for a in range(0, len(found[k]) - FRAGMENT, STRIDE):
                x.append(found[k][a : a + FRAGMENT])
                gene.append(k)
                start.append(a)
        return torch.stack(x), torch.tensor(gene), torch.tensor(start)

    def task(index: list[int], many: int) -> tuple[Tensor, Tensor, Tensor]:
        """A gallery, reads from it, and which fragments hold which read (R, F)."""
        x, gene, start = fragments(index)
        pick = torch.randint(len(x), (many,), generator=g)
        offset = torch.randint(FRAGMENT - READ, (many,), generator=g)
        reads = torch.stack([x[i, o : o + READ] for i, o in zip(pick.tolist(), offset.tolist(), strict=True)])
        at = start[pick] + offset
        holds = (gene[None] == gene[pick][:, None]) & (start[None] <= at[:, None])
        return x, changed(reads), holds & (start[None] + FRAGMENT >= at[:, None] + READ)

    gallery = fragments(train)[0]
    tuning, testing = task(tune, trial.count(300, 20)), task(test, trial.count(400, 20))

    def model(value: float, contrast: bool, steps: int) -> _Reader:
        torch.manual_seed(trial.seed)
        reader, head = _Reader(), nn.Linear(64, 256)
        objective = recipe("infonce", temperature=value if contrast else 1.0)
        draw = torch.Generator().manual_seed(trial.seed)

        def loss(index: Tensor, step: int) -> Tensor:
            x = gallery[index]
            if not contrast:
                return (head(reader(x)) - 16 * counts(x, 4)).square().mean()
            o = torch.randint(FRAGMENT - READ, (1,), generator=draw).item()
            read = changed(x[:, int(o) : int(o) + READ])
            return objective(Batch({"fragment": reader(x), "read": reader(read)}))["loss"]

        lr = 2e-3 if contrast else value
        size = trial.count(96, 24)
        lab.fit([reader, head, objective], loss, len(gallery), steps=steps, seed=trial.seed, size=size, lr=lr)
        return reader

    def at_ten(scores: Tensor, holds: Tensor) -> float:
        top = scores.topk(min(10, scores.shape[1]), 1).indices
        return float(holds.gather(1, top).any(1).float().mean())

    @torch.no_grad()
    def judge(m: _Reader, of: tuple[Tensor, Tensor, Tensor], shuffled: bool = False) -> float:
        x, reads, holds = of
        if shuffled:
            order = torch.rand(reads.shape, generator=torch.Generator().manual_seed(trial.seed)).argsort(1)
            reads = reads.gather(1, order)
        z = unit(m(x), dim=1)
        return at_ten(unit(m(reads), dim=1) @ z.T, holds)

    steps = trial.steps(250)
    plain, _ = lab.best(trial, (1e-3, 3e-3), lambda r: model(r, False, steps), lambda m: judge(m, tuning))
    taught, t = lab.best(trial, (0.05, 0.1), lambda t: model(t, True, steps), lambda m: judge(m, tuning))
    x, reads, holds = testing
    also = {f"counts of {k} letters, no training": at_ten(counts(reads, k) @ counts(x, k).T, holds) for k in (3, 4, 6)}
    with torch.no_grad():
        first = torch.tensor([int(h.nonzero()[0, 0]) for h in holds])
        rows = {
            arm: {"read": unit(m(reads), dim=1), "fragment": unit(m(x[first]), dim=1)}
            for arm, m in (("baseline", plain), ("mechanism", taught))
        }
    return Measured(
        judge(plain, testing),
        judge(taught, testing),
        (judge(plain, testing, True), judge(taught, testing, True)),
        (judge(model(t, True, 0), testing), judge(taught, testing)),
        also,
        rows,
    )


# -- two streams -------------------------------------------------------------------------------------------------------


class _Streams(nn.Module):
    """A canvas (B, 256) as queries of two vocabularies: ten shapes and four places, (B, 10, d) and (B, 4, d)."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.mask = lab.mlp(256, 64), nn.Linear(64, 64)
        self.shapes, self.places = nn.Parameter(torch.randn(10, 64) / 8), nn.Parameter(torch.randn(4, 64) / 8)
        self.shape, self.place = (
            nn.Sequential(nn.Linear(128, 64), nn.GELU(), nn.Linear(64, lab.DIM)) for _ in range(2)
        )
        self.is_shape, self.is_place = nn.Linear(lab.DIM, 1), nn.Linear(lab.DIM, 1)

    def streams(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        m = self.mask(h)
        return m * h, (1 - m) * h

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        def asked(stream: Tensor, queries: Tensor, head: nn.Module) -> Tensor:
            pair = [t.expand(len(x), len(queries), 64) for t in (stream[:, None], queries[None])]
            return head(torch.cat(pair, 2))

        shape, place = self.streams(x)
        return asked(shape, self.shapes, self.shape), asked(place, self.places, self.place)


@experiment(
    "medslip",
    claim="A contrast between the queries of two streams, by what occurs where, teaches a model which finding sits in "
    "which place.",
    maths=r"$$L=L_{\text{presence}}+\mathrm{BCE}(\langle p_q,a_r\rangle,\ q\text{ occurs at }r)$$",
    carrier="workbench.papers.contrast._Streams with a binary contrast",
    code="Shef-AIRE/MeDSLIP",
    deviations="Presence and co-occurrence only: the prototypes of text vectors are left out, as there are no reports.",
    data="16 × 16 canvases with two scikit-learn digits in two of four quadrants: shape for pathology, quadrant for "
    "anatomy",
    quantity="AUROC of which present shape is at which occupied place",
    least=0.05,
    control="places dealt at random in training: both arms",
    margin=0.05,
    positive="AUROC of the contrast, untrained against trained",
    small="",
    alone="it needs findings and places, which a set of vectors does not tell",
)
def medslip(trial: Trial) -> Measured:
    """Presence of shapes and places alone, against the same with the contrast between the streams."""
    g = torch.Generator().manual_seed(trial.seed)
    parts = lab.whole(trial)

    def canvases(part: Part, count: int) -> tuple[Tensor, Tensor]:
        """Canvases (count, 256), and what is where (count, 10, 4)."""
        x, there = torch.zeros(count, 4, 8, 8), torch.zeros(count, 10, 4)
        assert part.y is not None
        for k in range(count):
            two, at = torch.randint(len(part), (2,), generator=g), torch.randperm(4, generator=g)[:2]
            for i, q in zip(two.tolist(), at.tolist(), strict=True):
                x[k, q] = part.x["whole"][i].view(8, 8)
                there[k, int(part.y[i]), q] = 1
        return x.view(count, 2, 2, 8, 8).permute(0, 1, 3, 2, 4).reshape(count, 256), there

    sizes = (trial.count(1500, 40), trial.count(300, 30), trial.count(400, 40))
    data, tune, test = (canvases(p, n) for p, n in zip((parts.train, parts.validation, parts.test), sizes, strict=True))
    dealt = data[1][:, :, torch.randperm(4, generator=g)]
    dealt = torch.stack([t[:, torch.randperm(4, generator=g)] for t in dealt])

    def train(lr: float, contrast: bool, where: Tensor, steps: int) -> _Streams:
        torch.manual_seed(trial.seed)
        model = _Streams()

        def loss(index: Tensor, step: int) -> Tensor:
            p, a = model(data[0][index])
            t = where[index]
            shape, place = t.amax(2), t.amax(1)
            total = bce(model.is_shape(p)[..., 0], shape) + bce(model.is_place(a)[..., 0], place)
            if contrast:
                known = (shape[:, :, None] * place[:, None]) > 0
                total = total + bce(torch.einsum("bqd,brd->bqr", p, a)[known], t[known])
            return total

        lab.fit([model], loss, len(data[0]), steps=steps, seed=trial.seed, size=64, lr=lr)
        return model

    @torch.no_grad()
    def judge(model: _Streams, of: tuple[Tensor, Tensor]) -> float:
        p, a = model(of[0])
        known = (of[1].amax(2)[:, :, None] * of[1].amax(1)[:, None]) > 0
        return lab.auc(torch.einsum("bqd,brd->bqr", p, a)[known], of[1][known] > 0)

    steps, rates = trial.steps(500), (1e-3, 3e-3)
    plain, r0 = lab.best(trial, rates, lambda r: train(r, False, data[1], steps), partial(judge, of=tune))
    both, r1 = lab.best(trial, rates, lambda r: train(r, True, data[1], steps), partial(judge, of=tune))
    chance = (judge(train(r0, False, dealt, steps), test), judge(train(r1, True, dealt, steps), test))
    also, rows = {}, {}
    first = test[1].amax(2).argmax(1)
    with torch.no_grad():
        for arm, m in (("baseline", plain), ("mechanism", both)):
            s, a = m.streams(data[0]), m.streams(test[0])
            known = data[1].amax(2).argmax(1)
            also[f"shape told from the stream of places, {arm}"] = lab.probe(s[1], known, a[1], first)
            rows[arm] = {"shapes": unit(a[0], dim=1), "places": unit(a[1], dim=1)}
    return Measured(
        judge(plain, test),
        judge(both, test),
        chance,
        (judge(train(r1, True, data[1], 0), test), judge(both, test)),
        also,
        rows,
        first,
    )
