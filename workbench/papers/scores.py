"""Papers whose mechanism is a score: bags, patches, segments and sequences against each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.objectives.scores import best_partners
from workbench.papers import lab
from workbench.papers.base import Measured, Trial, experiment
from workbench.papers.lab import CLASSES, LEFT, RIGHT, unit

cross = nn.functional.cross_entropy
VECTORS = "its parts (patches, segments, bags) have no place in a set with one row an item"


def _pools(trial: Trial) -> list[list[Tensor]]:
    """Digits of training, tuning and test by class: three lists of ten stacks (n, 64)."""
    views = lab.whole(trial)
    return [[p.x["whole"][p.y == c] for c in range(10)] for p in (views.train, views.validation, views.test)]


def _draw(pool: list[Tensor], c: int, g: torch.Generator) -> Tensor:
    return pool[c][int(torch.randint(len(pool[c]), (1,), generator=g))]


# -- segments ----------------------------------------------------------------------------------------------------------


def _songs(pool: list[Tensor], count: int, clips: int, g: torch.Generator, distinct: bool) -> tuple[Tensor, Tensor]:
    """Songs (count, clips, 64) of three digits among noise, and the classes of the three (count, 3)."""
    seen: set[tuple[int, ...]] = set()
    songs, said = torch.rand(count, clips, 64, generator=g), torch.zeros(count, 3, dtype=torch.long)
    for k in range(count):
        three = torch.randperm(10, generator=g)[:3]
        while distinct and tuple(sorted(three.tolist())) in seen:
            three = torch.randperm(10, generator=g)[:3]
        seen.add(tuple(sorted(three.tolist())))
        at = torch.randperm(clips, generator=g)[:3]
        for place, c in zip(at.tolist(), three.tolist(), strict=True):
            songs[k, place] = _draw(pool, c, g)
        said[k] = three
    return songs, said


def attended(clips: Tensor, words: Tensor, sharpness: float = 0.1) -> Tensor:
    r"""Words that attend over segments: unit clips (Q, K, d), unit words (R, J, d) → (Q, R).

    $\frac1J\sum_j\sum_k \mathrm{softmax}_k(S_{kj}/\tau_a)\,S_{kj}$; our reading of a kernel that is not public.
    """
    s = torch.einsum("qkd,rjd->qrkj", clips, words)
    return ((s / sharpness).softmax(2) * s).sum(2).mean(2)


def pooled(clips: Tensor, words: Tensor) -> Tensor:
    """Cosine of the means of segments and of words."""
    return unit(clips.mean(1), dim=1) @ unit(words.mean(1), dim=1).T


@experiment(
    "collap",
    claim="In a long recording of which a caption names only parts, attention of the words over segments finds the "
    "recording better than averaging does.",
    maths=r"$$s=\frac1J\sum_j\sum_k \mathrm{softmax}_k(S_{kj}/\tau_a)\,S_{kj},\qquad "
    r"L=\mathrm{symCE}(s/\tau)$$",
    carrier="workbench.papers.scores.attended",
    deviations="The attention kernel and the number of clips are not public: text-conditioned attention with "
    "temperature 0.1 is ours.",
    data="songs of 24 clips, 3 of them scikit-learn digits and 21 noise; captions of three number words",
    quantity="recall at 1 of a song by its caption among 100",
    least=0.05,
    control="songs with the captions of other songs: both scores",
    positive="recall at 1 of averaging, untrained against trained",
    small="",
    alone=VECTORS,
)
def collap(trial: Trial) -> Measured:
    """Songs and captions as sets of clips and words, contrasted by the mean of each or by attention."""
    pools = _pools(trial)
    g = torch.Generator().manual_seed(trial.seed)
    words = lab.names()

    def run(
        clips: int, score: Callable[[Tensor, Tensor], Tensor], wrong: bool = False
    ) -> tuple[float, float, dict[str, Tensor]]:
        g.manual_seed(trial.seed)
        songs, said = _songs(pools[0], trial.count(600, 40), clips, g, False)
        said = said.roll(1, 0) if wrong else said
        tuning, test = (_songs(p, trial.count(100, 20), clips, g, True) for p in pools[1:])

        def train(t: float, steps: int) -> tuple[nn.Module, nn.Module]:
            torch.manual_seed(trial.seed)
            ear, eye = lab.mlp(64), lab.mlp(256)

            def loss(index: Tensor, step: int) -> Tensor:
                a, b = unit(ear(songs[index]), dim=-1), unit(eye(words[said[index]]), dim=-1)
                return heads.symmetric(score(a, b) / t)

            lab.fit([ear, eye], loss, len(songs), steps=steps, seed=trial.seed, size=48)
            return ear, eye

        @torch.no_grad()
        def judge(pair: tuple[nn.Module, nn.Module], held: tuple[Tensor, Tensor]) -> float:
            a, b = unit(pair[0](held[0]), dim=-1), unit(pair[1](words[held[1]]), dim=-1)
            return lab.hits(score(a, b).T)

        pair, _ = lab.best(trial, (0.03, 0.1), lambda t: train(t, trial.steps(250)), lambda m: judge(m, tuning))
        with torch.no_grad():
            vectors = {
                "song": unit(unit(pair[0](test[0]), dim=-1).mean(1), dim=1),
                "caption": unit(unit(pair[1](words[test[1]]), dim=-1).mean(1), dim=1),
            }
        return judge(train(0.1, 0), test), judge(pair, test), vectors

    fresh, mean, a = run(24, pooled)
    _, attention, b = run(24, attended)
    also = {"three clips, averaging": run(3, pooled)[1], "three clips, attention": run(3, attended)[1]}
    return Measured(
        mean,
        attention,
        (run(24, pooled, True)[1], run(24, attended, True)[1]),
        (fresh, mean),
        also,
        {"baseline": a, "mechanism": b},
    )


# -- sequences ---------------------------------------------------------------------------------------------------------


class _Frames(nn.Module):
    """Frames (B, T, w) to unit frame features (B, T, d), each with its two neighbours on either side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(width, 64, 5, padding=2, padding_mode="circular"), nn.GELU(), nn.Conv1d(64, lab.DIM, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return unit(self.body(x.transpose(1, 2)).transpose(1, 2), dim=-1)


def synchrony(a: Tensor, b: Tensor) -> Tensor:
    """Mean over frames of the positive part of their cosine: unit frames (B, T, d) → (B,) in 0 … 1 (CoGenAV)."""
    return (a * b).sum(-1).clamp_min(0).mean(1)


@experiment(
    "cogenav",
    claim="A binary contrast on the mean cosine of frames learns which of two sequences are in step; a contrast of "
    "averaged features cannot.",
    maths=r"$$d=\frac1T\sum_t\max(0,\cos(a_t,v_t)),\qquad L=\mathrm{BCE}(d, y)$$",
    carrier="workbench.papers.scores.synchrony",
    code="HumanMLLM/CoGenAV",
    deviations="The generative half (a frozen speech recogniser) is left out; d is kept away from 0 and 1, where the "
    "released form has no gradient.",
    data="rows of scikit-learn digits as frames: left halves as one channel, right halves as the other, three digits a "
    "sequence",
    quantity="AUROC of sequences in step against the same ones shifted by three frames or more",
    least=0.05,
    control="channels of different sequences, in step or shifted: both scores",
    margin=0.05,
    positive="AUROC of the binary contrast, untrained against trained",
    small="",
    alone="it needs two sequences an item, and a set holds one row",
)
def cogenav(trial: Trial) -> Measured:
    """InfoNCE on time averages against the binary contrast, whose negatives are shifts of the same sequence."""
    x, _ = lab.digits()
    g = torch.Generator().manual_seed(trial.seed)
    order = torch.randperm(len(x), generator=g)
    order = order[: trial.count(1797, 180) // 3 * 3].view(-1, 3)
    # each sequence begins anywhere: else the empty rows between digits would put strangers in step
    phase = torch.randint(24, (len(order),), generator=g).tolist()
    a = torch.stack([LEFT(x[i]).reshape(24, 4).roll(k, 0) for i, k in zip(order, phase, strict=True)])
    v = torch.stack([RIGHT(x[i]).reshape(24, 4).roll(k, 0) for i, k in zip(order, phase, strict=True)])
    n = len(a)
    train, tune, test = slice(0, n * 6 // 10), slice(n * 6 // 10, n * 75 // 100), slice(n * 75 // 100, n)

    def shifted(y: Tensor) -> Tensor:
        by = torch.randint(3, 22, (len(y),), generator=g)
        at = (torch.arange(24)[None] + by[:, None]) % 24
        return y.gather(1, at[..., None].expand_as(y))

    def train_arm(value: float, binary: bool, apart: bool, steps: int) -> tuple[_Frames, _Frames]:
        torch.manual_seed(trial.seed)
        ear, eye = _Frames(4), _Frames(4)
        p, q = a[train], (v[train].roll(1, 0) if apart else v[train])

        def loss(index: Tensor, step: int) -> Tensor:
            p_, q_ = ear(p[index]), eye(q[index])
            if not binary:
                return heads.symmetric(unit(p_.mean(1), dim=1) @ unit(q_.mean(1), dim=1).T / value)
            off = eye(shifted(q[index]))
            d = torch.cat([synchrony(p_, q_), synchrony(p_, off)]).clamp(1e-3, 1 - 1e-3)
            y = torch.cat([torch.ones(len(index)), torch.zeros(len(index))])
            return nn.functional.binary_cross_entropy(d, y)

        lr = value if binary else 2e-3
        lab.fit([ear, eye], loss, len(p), steps=steps, seed=trial.seed, size=64, lr=lr)
        return ear, eye

    @torch.no_grad()
    def judge(pair: tuple[_Frames, _Frames], span: slice, apart: bool = False) -> float:
        g.manual_seed(trial.seed)
        p, q = a[span], (v[span].roll(1, 0) if apart else v[span])
        d = torch.cat([synchrony(pair[0](p), pair[1](q)), synchrony(pair[0](p), pair[1](shifted(q)))])
        return lab.auc(d, torch.arange(len(d)) < len(p))

    steps = trial.steps(300)
    base, t = lab.best(trial, (0.03, 0.1, 0.3), lambda t: train_arm(t, False, False, steps), lambda m: judge(m, tune))
    sync, lr = lab.best(trial, (1e-3, 2e-3, 5e-3), lambda r: train_arm(r, True, False, steps), lambda m: judge(m, tune))
    apart = tuple(
        judge(train_arm(value, binary, True, steps), test, True) for value, binary in ((t, False), (lr, True))
    )
    with torch.no_grad():
        rows = {
            arm: {"left": unit(m[0](a[test]).mean(1), dim=1), "right": unit(m[1](v[test]).mean(1), dim=1)}
            for arm, m in (("baseline", base), ("mechanism", sync))
        }
    return Measured(
        judge(base, test),
        judge(sync, test),
        (apart[0], apart[1]),
        (judge(train_arm(lr, True, False, 0), test), judge(sync, test)),
        {},
        rows,
    )


# -- patches -----------------------------------------------------------------------------------------------------------


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
    carrier="workbench.papers.scores.mean_token_cosine",
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
    alone=VECTORS,
)
def cg_vlm(trial: Trial) -> Measured:
    """An adapter from patches to a frozen table, scored either way, with few labels."""
    views = lab.cut(trial, whole=lambda x: x)
    place = torch.eye(16)
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

    def patches(x: Tensor) -> Tensor:
        cut = x.view(-1, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(len(x), 16, 4)
        return torch.cat([cut, place.expand(len(x), 16, 16)], 2)

    def scores(z: Tensor, kind: str) -> Tensor:
        if kind == "pooled":
            return unit(z.mean(1), dim=1) @ unit(torch.stack([t.mean(0) for t in tokens]), dim=1).T
        return torch.cat([mean_token_cosine(z, t[None]) for t in tokens], 1)

    assert views.train.y is not None
    few = torch.cat([(views.train.y == c).nonzero()[:10, 0] for c in range(10)])
    x, y = patches(views.train.x["whole"][few]), views.train.y[few]

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
        return lab.right(scores(m(patches(part.x["whole"])), kind), part.y)

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
            arm: {"digit": unit(found[k](patches(views.test.x["whole"])).mean(1), dim=1), "name": names}
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
    claim="Matching each concept with its best patch makes a model point at the concept, without costing the whole "
    "pair its retrieval.",
    maths=r"$$M_{bc}=\max_p\,(s_c\langle v_{bp},k_c\rangle+b_c),\qquad "
    r"L=L_{\mathrm{SigLIP}}-\tfrac12\cdot\tfrac1{|c|}\sum\log\sigma(\pm M_{bc})$$",
    carrier="recipe siglip; workbench.papers.scores.best_patch",
    code="JerrryNie/ConceptCLIP",
    deviations="Both losses from the start instead of in two stages.",
    data="16 × 16 canvases with two scikit-learn digits and two patches of noise in the four quadrants; captions "
    "of two "
    "number words",
    quantity="share of concepts whose best patch is the right quadrant (chance .25)",
    least=0.05,
    control="both losses with captions of other canvases: pointing between the two occupied quadrants",
    positive="pointing of the whole-pair loss, untrained against trained",
    small="Four patches of one digit each: the whole-pair loss alone points rightly 98 times in a hundred.",
    alone=VECTORS,
)
def conceptclip(trial: Trial) -> Measured:
    """SigLIP of whole canvases and captions, with and without the best-patch term."""
    pools = _pools(trial)
    g = torch.Generator().manual_seed(trial.seed)
    words = lab.names()

    def canvases(pool: list[Tensor], count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Patches (count, 4, 64), the two classes and their quadrants, (count, 2) each."""
        x, c, q = torch.rand(count, 4, 64, generator=g), [], []
        for k in range(count):
            two, at = torch.randperm(10, generator=g)[:2], torch.randperm(4, generator=g)[:2]
            for place, one in zip(at.tolist(), two.tolist(), strict=True):
                x[k, place] = _draw(pool, one, g)
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
            f"caption → picture recall at 10, {arm}": lab.recall(z["caption"], z["picture"], 10)
            for arm, z in rows.items()
        },
        rows,
        test[1][:, 0],
    )


def best_patch(patches: Tensor, concepts: Tensor) -> Tensor:
    """The best cosine of a concept among the patches of each picture: (B, P, d), (C, d) → (B, C) (ConceptCLIP)."""
    return (patches @ concepts.T).amax(1)


# -- bags --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bags:
    """Faces (N, 4, 64) and names (N, 6, 256) with their masks; which name each face has (N, 4), −1: no face."""

    faces: Tensor
    has_face: Tensor
    names: Tensor
    has_name: Tensor
    truth: Tensor


def _bags(pool: list[Tensor], count: int, g: torch.Generator) -> _Bags:
    """One to three digits and perhaps a stranger, with their names, up to two others, and NONAME."""
    words, nobody = lab.names(), lab.ngrams("noname")
    faces, has = torch.zeros(count, 4, 64), torch.zeros(count, 4, dtype=torch.bool)
    names, said = torch.zeros(count, 6, 256), torch.zeros(count, 6, dtype=torch.bool)
    truth = torch.full((count, 4), -1)
    for k in range(count):
        n, more, stranger = (int(torch.randint(a, b, (1,), generator=g)) for a, b in ((1, 4), (0, 3), (0, 2)))
        classes = torch.randperm(10, generator=g)[: n + more].tolist()
        for j, c in enumerate(classes):
            names[k, j], said[k, j] = words[c], True
        names[k, n + more], said[k, n + more] = nobody, True
        for j in range(n):
            faces[k, j], has[k, j], truth[k, j] = _draw(pool, classes[j], g), True, j
        if stranger:
            faces[k, n], has[k, n], truth[k, n] = torch.rand(64, generator=g), True, n + more
    return _Bags(faces, has, names, said, truth)


@experiment(
    "secla",
    claim="Contrasting bags of faces and names in both directions, which must agree, assigns faces to names better "
    "than one direction alone.",
    maths=r"$$F_{ij}=\tfrac1{|n_i|}\sum_l\max_k\langle g_{il},f_{jk}\rangle,\quad "
    r"L=\mathrm{CE}(F)+\mathrm{CE}(N)+\alpha\,\overline{(F_{ii}-N_{ii})^2}$$",
    carrier="recipe secla",
    code="tingyu215/SECLA",
    deviations="Padding is masked; released code lets it take part in the maximum and divides both directions by the "
    "padded number of names. The easy-to-hard stages are left out.",
    data="bags of one to three scikit-learn digits and perhaps a stranger, with number words, up to two of them wrong, "
    "and NONAME",
    quantity="share of faces given the right name",
    least=0.05,
    control="bags with the names of other bags: share of both, strangers and NONAME left out",
    positive="one direction, untrained against trained",
    small="",
    alone=VECTORS,
)
def secla(trial: Trial) -> Measured:
    """Face to name only, against the recipe with both directions and agreement; three learning rates for each."""
    pools = _pools(trial)
    g = torch.Generator().manual_seed(trial.seed)
    data, tune, test = (
        _bags(p, n, g)
        for p, n in zip(pools, (trial.count(300, 30), trial.count(150, 20), trial.count(300, 30)), strict=True)
    )
    objective = recipe("secla")

    def train(lr: float, both: bool, wrong: bool, steps: int) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(trial.seed)
        eye, ear = lab.mlp(64), lab.mlp(256)
        turn = 1 if wrong else 0
        names, said = data.names.roll(turn, 0), data.has_name.roll(turn, 0)

        def loss(index: Tensor, step: int) -> Tensor:
            f, n = eye(data.faces[index]), ear(names[index])
            if not both:  # each face's best name
                s = best_partners(f, n, data.has_face[index], said[index])
                return heads.softmax(s, torch.arange(len(index)))
            tokens, there = {"face": f, "name": n}, {"face": data.has_face[index], "name": said[index]}
            batch = Batch({"face": f.mean(1), "name": n.mean(1)}, tokens=tokens, tokens_present=there)
            return objective(batch)["loss"]

        lab.fit([eye, ear], loss, len(data.faces), steps=steps, seed=trial.seed, size=24, lr=lr)
        return eye, ear

    @torch.no_grad()
    def judge(pair: tuple[nn.Module, nn.Module], b: _Bags, known: bool = False) -> float:
        nobody = (b.names == lab.ngrams("noname")).all(2)
        said = b.has_name & ~nobody if known else b.has_name
        s = torch.einsum("nkd,nld->nkl", pair[0](b.faces), pair[1](b.names)).masked_fill(~said[:, None], -1e9)
        there = b.truth >= 0
        if known:  # that noise is nobody can be learned from any bag
            there &= ~nobody.gather(1, b.truth.clamp_min(0))
        return float((s.argmax(2) == b.truth)[there].float().mean())

    @torch.no_grad()
    def vectors(pair: tuple[nn.Module, nn.Module]) -> dict[str, Tensor]:
        known = test.truth[:, 0] == 0  # the first face and its name
        return {"face": unit(pair[0](test.faces[known, 0]), dim=1), "name": unit(pair[1](test.names[known, 0]), dim=1)}

    steps, rates = trial.steps(300), (5e-4, 1e-3, 2e-3)
    one, r0 = lab.best(trial, rates, lambda r: train(r, False, False, steps), lambda m: judge(m, tune))
    two, r1 = lab.best(trial, rates, lambda r: train(r, True, False, steps), lambda m: judge(m, tune))
    wrong = (judge(train(r0, False, True, steps), test, True), judge(train(r1, True, True, steps), test, True))
    base = judge(one, test)
    return Measured(
        base,
        judge(two, test),
        wrong,
        (judge(train(r0, False, False, 0), test), base),
        {},
        {"baseline": vectors(one), "mechanism": vectors(two)},
    )
