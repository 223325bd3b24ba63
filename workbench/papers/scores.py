"""Papers whose mechanism is a score: bags, patches, segments and sequences against each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workbench.objectives import heads
from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.objectives.scores import best_partners
from workbench.papers import lab, measures
from workbench.papers.base import Measured, Trial, experiment
from workbench.papers.lab import LEFT, RIGHT, unit

cross = nn.functional.cross_entropy


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
            songs[k, place] = lab.drawn(pool, c, g)
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
    alone=lab.VECTORS,
)
def collap(trial: Trial) -> Measured:
    """Songs and captions as sets of clips and words, contrasted by the mean of each or by attention."""
    pools = lab.pools(trial)
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
            return measures.hits(score(a, b).T)

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
    claim="A binary contrast on the mean cosine of frames learns which of two sequences are in step better than a "
    "contrast of averaged features does.",
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
    positive="AUROC of the contrast of averages, untrained against trained",
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
        return measures.auc(d, torch.arange(len(d)) < len(p))

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
        (judge(train_arm(t, False, False, 0), test), judge(base, test)),
        {},
        rows,
    )


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
            faces[k, j], has[k, j], truth[k, j] = lab.drawn(pool, classes[j], g), True, j
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
    alone=lab.VECTORS,
)
def secla(trial: Trial) -> Measured:
    """Face to name only, against the recipe with both directions and agreement; three learning rates for each."""
    pools = lab.pools(trial)
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
