"""Papers on the shape of the space: its gap, its rank, its clusters, what it shares and what it keeps apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench import geometry
from workbench.objectives import heads
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import lab, measures
from workbench.papers.base import Measured, Own, Trial, experiment
from workbench.papers.lab import LEFT, RIGHT, Arm, Part, unit
from workbench.sets.embeddings import EmbeddingSet

cross = nn.functional.cross_entropy


@experiment(
    "mambarec",
    claim="A discrepancy of the two modalities' distributions beside the contrast makes items easier to find.",
    maths=r"$$L=L_{\mathrm{NCE}}+\lambda\,\mathrm{MMD}^2,\quad "
    r"\mathrm{MMD}^2=\overline{k(x,x')}+\overline{k(y,y')}-2\overline{k(x,y)}$$",
    carrier="recipe mmd; diagnostic mmd_squared",
    code="rkl71/MambaRec",
    deviations="Only the discrepancy: the attention, which in the released code sees maps of one pixel, and the "
    "ranking "
    "loss of a recommender are left out.",
    data="scikit-learn digits: left and right halves",
    quantity="recall at 10 over both directions",
    least=0.02,
    control="both recipes on pairs made at random: recall",
    positive="recall at 10, untrained against trained towers",
    small="The gap of small towers is small, so there is little for the discrepancy to close.",
    own=Own(2),
    yours="workbench papers mambarec --run --data YOUR_SET",
)
def mambarec(trial: Trial) -> Measured:
    """InfoNCE against InfoNCE with the discrepancy at the recipe's weight; beside it gap and discrepancy of both."""

    def also(z: dict[str, dict[str, Tensor]], part: Part) -> dict[str, float]:
        out: dict[str, float] = {}
        for arm, rows in z.items():
            a, b, *_ = rows.values()
            out |= {f"gap, {arm}": measures.gap(a, b), f"squared discrepancy, {arm}": float(geometry.mmd(a, b))}
        return out

    views = lab.given(trial, 2) or lab.cut(trial, left=LEFT, right=RIGHT)
    return lab.contest(trial, views, Arm("infonce"), Arm("mmd"), lambda z, p: measures.all_recall(z, p), also=also)


@experiment(
    "maccap",
    claim="A reader of one modality, taught with Gaussian noise of the gap's width, reads the other modality better.",
    maths=r"$$\delta_i=x_i-y_i,\quad \sigma^2=\tfrac1d\,\overline{\|\delta_i-\bar\delta\|^2},\quad "
    r"\text{teach on } n(x_i+\mathcal N(0,\sigma^2 I)),\ \text{test on } y$$",
    carrier="recipe noise_injection; intervention noise; curve gap_moments",
    code="Artanic30/MacCap",
    deviations="A linear classifier stands for the caption decoder; the width is measured on the training part, where "
    "the released code has 0.016 as a constant.",
    data="scikit-learn digits: the classifier learns right halves and is asked about left halves, in a space trained "
    "with InfoNCE",
    quantity="accuracy across modalities",
    least=0.02,
    control="a space trained on pairs made at random: accuracy of both",
    positive="accuracy without noise in an untrained against a trained space",
    small="Tuned, the space is trained at a temperature that leaves hardly a gap, and needs no noise. At 0.02 "
    "the gap is large, and noise gains more than subtracting it (beside). It is not zero-mean: its mean is the gap.",
    own=Own(2, label=True),
    yours="workbench papers maccap --run --data YOUR_SET --label CLASS",
)
def maccap(trial: Trial) -> Measured:
    """The same classifier without and with noise; beside it, subtracting the mean gap, and how far from zero-mean the
    gap is.
    """
    views = lab.given(trial, 2) or lab.cut(trial, right=RIGHT, left=LEFT)
    taught, asked = views.train.x
    y = views.train.y
    assert y is not None
    classes = int(max(int(p.y.max()) for p in (views.train, views.validation, views.test))) + 1  # type: ignore[union-attr]
    steps = trial.steps(300)

    def space(t: float, part: Part, count: int = steps) -> lab.Towers:
        return lab.learn(Arm("infonce"), part, temperature=t, steps=count, seed=trial.seed)

    def moments(model: lab.Towers) -> tuple[float, Tensor, float]:
        """The gap's variance a coordinate, its mean, and that mean's squared length without the bias of noise (0 on
        average if zero-mean).
        """
        z = lab.rows(model, views.train)
        d = z[taught] - z[asked]
        mean = d.mean(0)
        return float(d.var(0, unbiased=False).mean()), mean, float(mean.square().sum() - d.var(0).sum() / len(d))

    def accuracy(model: lab.Towers, noise: float, part: Part, shift: bool = False, same: bool = False) -> float:
        torch.manual_seed(trial.seed)
        x, head = lab.rows(model, views.train)[taught], nn.Linear(lab.DIM, classes)
        draw = torch.Generator().manual_seed(trial.seed)

        def loss(index: Tensor, step: int) -> Tensor:
            rows = x[index]
            rows = unit(rows + noise**0.5 * torch.randn(rows.shape, generator=draw), dim=1)
            return cross(head(rows) / 0.1, y[index])

        lab.fit([head], loss, len(x), steps=trial.steps(150), seed=trial.seed, lr=1e-2)
        z = lab.rows(model, part)[taught if same else asked]
        if shift:
            z = unit(z + moments(model)[1], dim=1)
        with torch.no_grad():
            return measures.right(head(z), part.y)

    grid = (0.03, 0.1, 0.3, 1.0, 3.0)
    plain, t0 = lab.best(trial, grid, lambda t: space(t, views.train), lambda m: accuracy(m, 0.0, views.validation))
    noised, t1 = lab.best(
        trial, grid, lambda t: space(t, views.train), lambda m: accuracy(m, moments(m)[0], views.validation)
    )
    wrong = views.train.mispaired(trial.seed)
    lost = [space(t, wrong) for t in (t0, t1)]
    base, cold = accuracy(plain, 0.0, views.test), space(0.02, views.train)
    sigma, wide = moments(noised), moments(cold)
    also = {
        "temperature 0.02, a large gap: as it is": accuracy(cold, 0.0, views.test),
        "temperature 0.02: with noise": accuracy(cold, wide[0], views.test),
        "temperature 0.02: subtracting the mean gap": accuracy(cold, 0.0, views.test, shift=True),
        "variance of the gap for each coordinate": sigma[0],
        "squared length of its mean, unbiased (0 if zero-mean)": sigma[2],
        "temperature 0.02: squared length of the mean, unbiased": wide[2],
        "subtracting the mean gap instead": accuracy(noised, 0.0, views.test, shift=True),
        "within the taught modality, without noise": accuracy(plain, 0.0, views.test, same=True),
        "within the taught modality, with noise": accuracy(noised, sigma[0], views.test, same=True),
        "temperature of the baseline": t0,
        "temperature of the mechanism": t1,
    }
    return Measured(
        base,
        accuracy(noised, sigma[0], views.test),
        (accuracy(lost[0], 0.0, views.test), accuracy(lost[1], moments(lost[1])[0], views.test)),
        (accuracy(space(t0, views.train, 0), 0.0, views.test), base),
        also,
        {"baseline": lab.rows(plain, views.test), "mechanism": lab.rows(noised, views.test)},
        views.test.y,
    )


@experiment(
    "whitenedcse",
    claim="Whitening in shuffled groups of dimensions inside the head, with several positives, teaches an encoder "
    "nearer neighbours of the same kind.",
    maths=r"$$Y_g=(X_g-\bar X_g)\Sigma_g^{-1/2},\qquad L=\sum_{k>1}\mathrm{CE}(\cos(y^{(1)},y^{(k)})/\tau)$$",
    carrier="recipe whitened; workbench.geometry.whitened",
    code="SupstarZh/WhitenedCSE",
    deviations="Each copy is whitened with a shuffle of its own, as the idea asks; the released code splits an "
    "interleaved batch into thirds, so that copies of an item share a shuffle.",
    data="scikit-learn digits, three augmented copies each; the encoder's own output is judged",
    quantity="share of test digits whose five nearest neighbours have their class as the commonest",
    least=0.01,
    control="the baseline from another start: the same share",
    positive="the same share, untrained against trained",
    small="Nearest neighbours of digits are right without training nine times in ten: there is little left to win.",
    alone="it needs pictures or sentences that can be encoded several times, and a set holds finished vectors",
)
def whitenedcse(trial: Trial) -> Measured:
    """Two positives without whitening against two with it; the head is used in training only."""
    views = lab.cut(trial, whole=lambda x: x)
    x = views.train.x["whole"].view(-1, 8, 8)

    def train(t: float, white: bool, steps: int, seed: int = trial.seed) -> nn.Module:
        torch.manual_seed(seed)
        encoder, head = lab.mlp(64, 96), nn.Linear(96, 96)
        g = torch.Generator().manual_seed(seed)

        def loss(index: Tensor, step: int) -> Tensor:
            copies = [encoder(lab.augmented(x[index], g).flatten(1)) for _ in range(3)]
            if white and len(index) > 12:
                copies = [geometry.whitened(c, 16, shuffle=True) for c in copies]
            first, *others = (unit(torch.tanh(head(c)), dim=1) for c in copies)
            target = torch.arange(len(index))
            return sum((heads.softmax(first @ o.T / t, target) for o in others), torch.zeros(()))

        lab.fit([encoder, head], loss, len(x), steps=steps, seed=seed)
        return encoder

    @torch.no_grad()
    def z(m: nn.Module, part: Part) -> Tensor:
        return unit(m(part.x["whole"]), dim=1)

    def judge(m: nn.Module, part: Part) -> float:
        assert views.train.y is not None
        assert part.y is not None
        return measures.knn(z(m, views.train), views.train.y, z(m, part), part.y)

    steps, grid = trial.steps(250), (0.05, 0.1, 0.3)
    plain, t0 = lab.best(trial, grid, lambda t: train(t, False, steps), lambda m: judge(m, views.validation))
    white, t1 = lab.best(trial, grid, lambda t: train(t, True, steps), lambda m: judge(m, views.validation))
    base = judge(plain, views.test)
    g = torch.Generator().manual_seed(trial.seed)
    also, rows = {"temperature of the baseline": t0, "temperature of the mechanism": t1}, {}
    for arm, m in (("baseline", plain), ("mechanism", white)):
        with torch.no_grad():
            copy = unit(m(lab.augmented(views.test.x["whole"].view(-1, 8, 8), g).flatten(1)), dim=1)
        rows[arm] = {"digit": z(m, views.test), "augmented": copy}
        also[f"distance to an augmented copy, {arm}"] = float(geometry.alignment(rows[arm]["digit"], copy))
        also[f"uniformity, {arm}"] = float(geometry.uniformity(rows[arm]["digit"]))
        also[f"effective rank, {arm}"] = measures.effective_rank(rows[arm]["digit"])
    return Measured(
        base,
        judge(white, views.test),
        (base, judge(train(t0, False, steps, trial.seed + 500), views.test)),
        (judge(train(t0, False, 0), views.test), base),
        also,
        rows,
        views.test.y,
    )


@experiment(
    "fdt",
    claim="Sparse weights over one shared codebook make matched pairs share codes that strangers do not.",
    maths=r"$$w=\mathrm{sparsemax}\big(\max_t\langle q_t,c_k\rangle/\sqrt d/T\big),\qquad z=\sum_k w_kc_k,\qquad "
    r"L=\mathrm{symCE}(z^Iz^{T\top}/\tau)$$",
    carrier="recipe fdt",
    code="yuxiaochen1103/FDT",
    deviations="64 codes instead of 16,384; T is 10, where the shipped value is 1,000; missing tokens are "
    "masked, where "
    "the released code lets them score 0.",
    data="scikit-learn digits as 16 patches; number words as letter triples",
    quantity="overlap of the codes of a picture and its name, against a name of another class (ratio)",
    least=0.1,
    control="both trained on pairs made at random: ratio",
    positive="accuracy of naming with dense weights, untrained against trained",
    small="",
    alone="it needs tokens (patches, words), and a set holds one row an item",
)
def fdt(trial: Trial) -> Measured:
    """Dense weights (T = 1,000) against sparse ones (T = 10) over the same codebook."""
    views = lab.cut(trial, whole=lambda x: x)
    spell = [[lab.ngrams(f"{w[k : k + 3]}", 64) for k in range(max(len(w) - 2, 1))] for w in lab.CLASSES]
    most = max(map(len, spell))
    words = torch.stack([torch.stack([*s, *[torch.zeros(64)] * (most - len(s))]) for s in spell])
    there = torch.tensor([[k < len(s) for k in range(most)] for s in spell])

    x, y = lab.patches(views.train.x["whole"]), views.train.y
    assert y is not None

    def train(t: float, sharpness: float, labels: Tensor, steps: int) -> tuple[nn.Module, nn.Module, nn.Module]:
        torch.manual_seed(trial.seed)
        eye, ear = lab.mlp(20), lab.mlp(64)
        dims = {"picture": lab.DIM, "name": lab.DIM}
        objective = recipe("fdt", dims=dims, temperature=t, codes=64, sharpness=sharpness)

        def loss(index: Tensor, step: int) -> Tensor:
            p, n = eye(x[index]), ear(words[labels[index]])
            tokens, present = {"picture": p, "name": n}, {"name": there[labels[index]]}
            batch = Batch({"picture": p.mean(1), "name": n.mean(1)}, tokens=tokens, tokens_present=present)
            return objective(batch)["loss"]

        lab.fit([eye, ear, objective], loss, len(x), steps=steps, seed=trial.seed, size=32)
        return eye, ear, objective.parts[0]

    @torch.no_grad()
    def coded(m: tuple[nn.Module, nn.Module, nn.Module], part: Part) -> tuple[tuple[Tensor, Tensor], ...]:
        book = m[2]
        return book.mixture("picture", m[0](lab.patches(part.x["whole"]))), book.mixture("name", m[1](words), there)  # type: ignore[operator]

    def accuracy(m: tuple[nn.Module, nn.Module, nn.Module], part: Part) -> float:
        (_, p), (_, n) = coded(m, part)
        return measures.right(unit(p, dim=1) @ unit(n, dim=1).T, part.y)

    def ratio(m: tuple[nn.Module, nn.Module, nn.Module], part: Part) -> float:
        (p, _), (n, _) = coded(m, part)
        shared = torch.minimum(p[:, None], n[None]).sum(2)  # (N, 10)
        own = nn.functional.one_hot(part.y, 10).bool()  # type: ignore[arg-type]
        return float(shared[own].mean() / shared[~own].mean().clamp_min(1e-6))

    steps, grid = trial.steps(400), (0.05, 0.1, 0.3)
    dense, t0 = lab.best(trial, grid, lambda t: train(t, 1000.0, y, steps), lambda m: accuracy(m, views.validation))
    sparse, t1 = lab.best(trial, grid, lambda t: train(t, 10.0, y, steps), lambda m: accuracy(m, views.validation))
    wrong = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(trial.seed))]
    also, rows = {}, {}
    for arm, m in (("baseline", dense), ("mechanism", sparse)):
        (w, p), (_, n) = coded(m, views.test)
        also[f"codes in use by a picture, {arm}"] = float((w > 0).sum(1).float().mean())
        also[f"accuracy of naming, {arm}"] = accuracy(m, views.test)
        rows[arm] = {"picture": unit(p, dim=1), "name": unit(n, dim=1)[views.test.y]}
    return Measured(
        ratio(dense, views.test),
        ratio(sparse, views.test),
        (ratio(train(t0, 1000.0, wrong, steps), views.test), ratio(train(t1, 10.0, wrong, steps), views.test)),
        (accuracy(train(t0, 1000.0, y, 0), views.test), accuracy(dense, views.test)),
        also,
        rows,
        views.test.y,
    )


ROLES = {"safe": ["safe"], "unsafe": ["unsafe"], "jailbreak": ["jailbreak"]}


@experiment(
    "alkali",
    claim="Merging unsafe with camouflaged items, beside parting both from safe ones, keeps camouflage out of the safe "
    "cluster.",
    maths=r"$$L=L_{\text{pref}}+\overline{[5-\|h_s-h_u\|]_+}\,\&\,\overline{[5-\|h_s-h_j\|]_+}+"
    r"\overline{[\|h_u-h_j\|-1]_+}$$",
    carrier="recipe grace; diagnostics avqi_released, avqi_safe_vs_adversarial",
    code="vinija/alkali",
    deviations="A frozen small network stands for the language model; the smoothness term is left out. Released "
    "AVQI takes "
    "Dunn's minimum over all pairs, so merging unsafe with camouflaged sends it to infinity: both forms are printed.",
    data="four layers of a frozen network on scikit-learn digits: even for safe, odd for unsafe, a blend of an odd and "
    "an even one for camouflaged",
    quantity="share of camouflaged items nearer the safe centroid",
    better="lower",
    least=0.05,
    control="roles dealt at random: the same share",
    positive="share of plain unsafe items nearer the unsafe centroid, against a half",
    small="",
    alone="it needs layers of a model and three items of one prompt; 'workbench diagnose --roles' gives AVQI of "
    "your set",
)
def alkali(trial: Trial) -> Measured:
    """GRACE without and with its merging term over a pooler of layers; two learning rates for both."""
    g = torch.Generator().manual_seed(trial.seed)
    parts = lab.whole(trial)
    torch.manual_seed(trial.seed)
    layers = nn.ModuleList([nn.Linear(64 if k == 0 else 48, 48) for k in range(4)])
    head = nn.Linear(48, 10)

    def states(x: Tensor) -> Tensor:
        out = []
        for layer in layers:
            x = torch.tanh(layer(x))
            out.append(x)
        return torch.stack(out, 1)  # (B, 4, 48)

    whole, truth = parts.train.x["whole"], parts.train.y
    assert truth is not None
    lab.fit(
        [layers, head],
        lambda i, s: cross(head(states(whole[i])[:, -1]), truth[i]),
        len(whole),
        steps=trial.steps(300),
        seed=trial.seed,
    )
    layers.requires_grad_(False)

    def triples(part: Part, count: int) -> list[Tensor]:
        assert part.y is not None
        even, odd = (part.x["whole"][part.y % 2 == k] for k in (0, 1))
        s, u, o = (p[torch.randint(len(p), (count,), generator=g)] for p in (even, odd, odd))
        e = even[torch.randint(len(even), (count,), generator=g)]
        return [states(p) for p in (s, u, 0.45 * o + 0.55 * e)]

    sizes = (trial.count(1200, 60), trial.count(300, 30), trial.count(600, 60))
    data, tune, test = (triples(p, n) for p, n in zip((parts.train, parts.validation, parts.test), sizes, strict=True))
    everyone = torch.cat(data)
    dealt = list(everyone[torch.randperm(len(everyone), generator=g)].chunk(3))

    class Pooler(nn.Module):
        """Layers weighted, then a linear map beside the plain mean, as the full form of GRACE has it."""

        def __init__(self) -> None:
            super().__init__()
            self.profile, self.map = nn.Parameter(torch.zeros(4)), nn.Linear(48, 48)

        def forward(self, h: Tensor) -> Tensor:
            return self.map((self.profile.softmax(0)[:, None] * h).sum(1)) + h.mean(1)

    def train(lr: float, merge: float, three: list[Tensor]) -> Pooler:
        torch.manual_seed(trial.seed)
        pool = Pooler()
        objective = recipe("grace", dims={"safe": 48}, merge=merge, smooth=0.0)

        def loss(index: Tensor, step: int) -> Tensor:
            return objective(Batch({m: pool(h[index]) for m, h in zip(ROLES, three, strict=True)}))["loss"]

        lab.fit([pool, objective], loss, len(three[0]), steps=trial.steps(300), seed=trial.seed, size=64, lr=lr)
        return pool

    @torch.no_grad()
    def nearer(pool: Pooler, of: list[Tensor], which: int = 2, to: int = 0) -> float:
        z = [pool(h) for h in of]
        mine, other = z[to].mean(0), z[1 - to].mean(0)
        return float(((z[which] - mine).norm(dim=1) < (z[which] - other).norm(dim=1)).float().mean())

    rates = (1e-3, 3e-3)
    plain, r0 = lab.best(trial, rates, lambda r: train(r, 0.0, data), lambda m: -nearer(m, tune))
    merged, r1 = lab.best(trial, rates, lambda r: train(r, 1.0, data), lambda m: -nearer(m, tune))
    wrong = tuple(nearer(train(r, w, dealt), test) for r, w in ((r0, 0.0), (r1, 1.0)))
    also, rows = {}, {}
    with torch.no_grad():
        for arm, m in (("baseline", plain), ("mechanism", merged)):
            rows[arm] = dict(zip(ROLES, (m(h) for h in test), strict=True))
            for name, value in _avqi(rows[arm]).items():
                also[f"{name}, {arm}"] = value
    return Measured(
        nearer(plain, test),
        nearer(merged, test),
        (wrong[0], wrong[1]),
        (0.5, nearer(plain, test, which=1, to=1)),
        also,
        rows,
    )


def _avqi(z: dict[str, Tensor]) -> dict[str, float]:
    """Both forms of AVQI, lower is safer."""
    import pandas as pd

    from workbench.report.diagnose import diagnose

    x = torch.cat(list(z.values()))
    role = [r for r, v in z.items() for _ in range(len(v))]
    es = EmbeddingSet({"state": x}, pd.DataFrame({"id": [f"h{k}" for k in range(len(x))], "role": role}))
    wanted = ["avqi_released", "avqi_safe_vs_adversarial"]
    report = diagnose(es, label="role", roles=ROLES, only=wanted)
    return {w: float(report.value(w, "state")) for w in wanted}
