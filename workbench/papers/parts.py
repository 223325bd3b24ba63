"""Papers on the parts of a picture: patches and tokens, concepts and patches, findings and places."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import lab, measures
from workbench.papers.base import Measured, Trial, experiment
from workbench.papers.lab import CLASSES, Part, unit

cross = nn.functional.cross_entropy
bce = nn.functional.binary_cross_entropy_with_logits


def mean_token_cosine(patches: Tensor, words: Tensor) -> Tensor:
    """Mean over all pairs of patch and token of their cosine: (Q, P, d), (R, T, d) → (Q, R).

    Of unit vectors the mean over pairs is the product of the means: it is each token's own length that is lost here.
    """
    patches, words = unit(patches, dim=-1), unit(words, dim=-1)
    return torch.einsum("qpd,rtd->qr", patches, words) / (patches.shape[1] * words.shape[1])


@experiment(
    "cg_vlm",
    claim="Averaging the cosines of patches and word tokens aligns an adapter with frozen word embeddings better than "
    "one cosine of averages does.",
    maths=r"$$s_{ij}=\frac1{PT}\sum_{p,t}\cos(v_{ip},e_{jt})\qquad\text{against}\qquad \cos(\bar v_i,\bar e_j)$$",
    carrier="workbench.papers.parts.mean_token_cosine",
    deviations="No code was found; the caption loss is left out. Without a cosine for each token the score is the "
    "product of the means, so the claim can only rest on that normalisation.",
    data="scikit-learn digits as 16 patches; number words as frozen random vectors of their letter pairs; 10 labelled "
    "items a class",
    quantity="accuracy of naming unseen digits",
    least=0.02,
    control="both taught words dealt at random: accuracy",
    margin=0.05,
    positive="accuracy of the cosine of averages, untrained against trained",
    small="Ten words leave little to tell apart; without the caption loss only the score is tested.",
    alone=lab.VECTORS,
)
def cg_vlm(trial: Trial) -> Measured:
    """An adapter from patches to a frozen table, scored either way, with few labels."""
    views = lab.cut(trial, whole=lambda x: x)
    table = torch.Generator().manual_seed(1)
    pairs = sorted({w[k : k + 2] for w in (f"^{c}$" for c in CLASSES) for k in range(len(w) - 1)})
    vector = dict(
        zip(
            pairs,
            torch.randn(len(pairs), 64, generator=table) * torch.rand(len(pairs), 1, generator=table),
            strict=True,
        )
    )
    tokens = [torch.stack([vector[f"^{c}$"[k : k + 2]] for k in range(len(c) + 1)]) for c in CLASSES]

    def scores(z: Tensor, kind: str) -> Tensor:
        if kind == "pooled":
            return unit(z.mean(1), dim=1) @ unit(torch.stack([t.mean(0) for t in tokens]), dim=1).T
        return torch.cat([mean_token_cosine(z, t[None]) for t in tokens], 1)

    assert views.train.y is not None
    few = torch.cat([(views.train.y == c).nonzero()[:10, 0] for c in range(10)])
    x, y = lab.patches(views.train.x["whole"][few]), views.train.y[few]

    dealt = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(trial.seed))]

    def train(t: float, kind: str, steps: int, said: Tensor = y) -> nn.Module:
        torch.manual_seed(trial.seed)
        adapter = lab.mlp(20, 64)
        lab.fit(
            [adapter],
            lambda index, step: cross(scores(adapter(x[index]), kind) / t, said[index]),
            len(x),
            steps=steps,
            seed=trial.seed,
            size=50,
        )
        return adapter

    @torch.no_grad()
    def judge(m: nn.Module, kind: str, part: lab.Part) -> float:
        return measures.right(scores(m(lab.patches(part.x["whole"])), kind), part.y)

    steps, found, warmth = trial.steps(250), {}, {}
    for kind in ("pooled", "tokens"):
        found[kind], warmth[kind] = lab.best(
            trial,
            (0.01, 0.03, 0.1),
            partial(train, kind=kind, steps=steps),
            partial(judge, kind=kind, part=views.validation),
        )
    chance = [judge(train(t, k, steps, dealt), k, views.test) for k, t in warmth.items()]
    base, mechanism = (judge(found[k], k, views.test) for k in ("pooled", "tokens"))
    names = torch.stack([unit(t.mean(0), dim=0) for t in tokens])[views.test.y]
    with torch.no_grad():
        rows = {
            arm: {"digit": unit(found[k](lab.patches(views.test.x["whole"])).mean(1), dim=1), "name": names}
            for arm, k in (("baseline", "pooled"), ("mechanism", "tokens"))
        }
    return Measured(
        base,
        mechanism,
        (chance[0], chance[1]),
        (judge(train(0.03, "pooled", 0), "pooled", views.test), base),
        {f"temperature of {k}": v for k, v in warmth.items()},
        rows,
        views.test.y,
    )


@experiment(
    "conceptclip",
    claim="Matching each concept with its best patch makes a model point at the concept.",
    maths=r"$$M_{bc}=\max_p\,(s_c\langle v_{bp},k_c\rangle+b_c),\qquad "
    r"L=L_{\mathrm{SigLIP}}-\tfrac12\cdot\tfrac1{|c|}\sum\log\sigma(\pm M_{bc})$$",
    carrier="recipe siglip; workbench.papers.parts.best_patch",
    code="JerrryNie/ConceptCLIP",
    deviations="Both losses from the start instead of in two stages.",
    data="16 × 16 canvases with two scikit-learn digits and two patches of noise in the four quadrants; captions "
    "of two "
    "number words",
    quantity="share of concepts whose best patch is the right quadrant (chance .25)",
    least=0.05,
    control="both losses with captions of other canvases: pointing between the two occupied quadrants",
    positive="pointing of the whole-pair loss, untrained against trained",
    small="Four patches of one digit each: the whole-pair loss alone points rightly 98 times in a hundred. That whole "
    "pairs keep their retrieval is the paper's as well; it stands beside, and is not judged.",
    alone=lab.VECTORS,
)
def conceptclip(trial: Trial) -> Measured:
    """SigLIP of whole canvases and captions, with and without the best-patch term."""
    pools = lab.pools(trial)
    g = torch.Generator().manual_seed(trial.seed)
    words = lab.names()

    def canvases(pool: list[Tensor], count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Patches (count, 4, 64), the two classes and their quadrants, (count, 2) each."""
        x, c, q = torch.rand(count, 4, 64, generator=g), [], []
        for k in range(count):
            two, at = torch.randperm(10, generator=g)[:2], torch.randperm(4, generator=g)[:2]
            for place, one in zip(at.tolist(), two.tolist(), strict=True):
                x[k, place] = lab.drawn(pool, one, g)
            c.append(two)
            q.append(at)
        return x, torch.stack(c), torch.stack(q)

    data = canvases(pools[0], trial.count(800, 40))
    tune, test = (canvases(p, trial.count(300, 30)) for p in pools[1:])

    def train(t: float, weight: float, wrong: bool, steps: int) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(trial.seed)
        eye, ear = lab.mlp(64), lab.mlp(256)
        whole = recipe("siglip", temperature=t)
        bias = nn.Parameter(torch.tensor(-10.0))
        x, c, _ = data
        c = c.roll(1, 0) if wrong else c

        class Bias(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.bias = bias

        def loss(index: Tensor, step: int) -> Tensor:
            patch, word = eye(x[index]), ear(words)
            out = whole(Batch({"picture": patch.mean(1), "caption": word[c[index]].mean(1)}))["loss"]
            if not weight:
                return out
            m = best_patch(unit(patch, dim=-1), unit(word, dim=1)) / t + bias  # (B, 10)
            there = torch.zeros(len(index), 10, dtype=torch.bool).scatter(1, c[index], True)
            return out + weight * heads.sigmoid(m, there) * len(index) / m.shape[1]

        lab.fit([eye, ear, whole, Bias()], loss, len(x), steps=steps, seed=trial.seed, size=64)
        return eye, ear

    @torch.no_grad()
    def pointing(
        pair: tuple[nn.Module, nn.Module], held: tuple[Tensor, Tensor, Tensor], occupied: bool = False
    ) -> float:
        x, c, q = held
        s = torch.einsum("bpd,bcd->bcp", unit(pair[0](x), dim=-1), unit(pair[1](words), dim=1)[c])
        if occupied:  # that a word is no noise can be learned from any caption
            there = torch.zeros(len(q), 4, dtype=torch.bool).scatter(1, q, True)
            s = s.masked_fill(~there[:, None], -2)
        return float((s.argmax(2) == q).float().mean())

    @torch.no_grad()
    def whole(pair: tuple[nn.Module, nn.Module]) -> dict[str, Tensor]:
        x, c, _ = test
        return {
            "picture": unit(pair[0](x).mean(1), dim=1),
            "caption": unit(pair[1](words)[c].mean(1), dim=1),
        }

    steps = trial.steps(350)
    base, t0 = lab.best(trial, (0.05, 0.1, 0.3), lambda t: train(t, 0, False, steps), lambda m: pointing(m, tune))
    both, t1 = lab.best(trial, (0.05, 0.1, 0.3), lambda t: train(t, 0.5, False, steps), lambda m: pointing(m, tune))
    wrong = (pointing(train(t0, 0, True, steps), test, True), pointing(train(t1, 0.5, True, steps), test, True))
    rows = {"baseline": whole(base), "mechanism": whole(both)}
    return Measured(
        pointing(base, test),
        pointing(both, test),
        wrong,
        (pointing(train(t0, 0, False, 0), test), pointing(base, test)),
        {
            f"caption → picture recall at 10, {arm}": measures.recall(z["caption"], z["picture"], 10)
            for arm, z in rows.items()
        },
        rows,
        test[1][:, 0],
    )


def best_patch(patches: Tensor, concepts: Tensor) -> Tensor:
    """The best cosine of a concept among the patches of each picture: (B, P, d), (C, d) → (B, C) (ConceptCLIP)."""
    return (patches @ concepts.T).amax(1)


class Streams(nn.Module):
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
    carrier="workbench.papers.parts.Streams with a binary contrast",
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
    dealt = torch.stack([t[:, torch.randperm(4, generator=g)] for t in data[1]])

    def train(lr: float, contrast: bool, where: Tensor, steps: int) -> Streams:
        torch.manual_seed(trial.seed)
        model = Streams()

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
    def judge(model: Streams, of: tuple[Tensor, Tensor]) -> float:
        p, a = model(of[0])
        known = (of[1].amax(2)[:, :, None] * of[1].amax(1)[:, None]) > 0
        return measures.auc(torch.einsum("bqd,brd->bqr", p, a)[known], of[1][known] > 0)

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
            also[f"shape told from the stream of places, {arm}"] = measures.probe(s[1], known, a[1], first)
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
