"""Geometry and gap: terms that act on a whole distribution, beside a contrast or in its place."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from workbench import geometry
from workbench.objectives import heads, targets
from workbench.objectives.batch import Batch, nothing, wide
from workbench.objectives.recipes.base import Term, entry
from workbench.objectives.recipes.contrast import Loss, clip, over_pairs

unit = torch.nn.functional.normalize


def raw_pairs(batch: Batch, loss: Loss) -> Tensor:
    """The mean over pairs of a loss of two sets of matched rows as the towers give them."""
    losses = []
    for a, b in batch.pairs:
        part = batch.only(a, b)
        x, y = wide(part.modalities[a]), wide(part.modalities[b])
        losses.append(loss(x, y) if len(x) > 1 else nothing(x, y))
    return torch.stack(losses).mean()


@entry(
    paper="Wang & Isola 2020",
    topic="geometry",
    modalities="2 or more",
    cost="B² d for each modality",
    minimum="matches coincide, each modality even on the sphere",
    temperature=1.0,
    learn_temperature=False,
)
def align_uniform(alpha: float = 2.0, t: float = 2.0, weight: float = 1.0) -> list[Term]:
    """Alignment of matches and uniformity of each modality, as losses: no negatives across modalities at all."""

    def alignment(batch: Batch, temperature: Tensor) -> Tensor:
        return over_pairs(batch, lambda x, y: geometry.alignment(x, y, alpha=alpha))

    def uniformity(batch: Batch, temperature: Tensor) -> Tensor:
        found = []
        for m in batch.names:
            x = batch.only(m).unit(m)
            found.append(geometry.uniformity(x, t=t) if len(x) > 1 else nothing(x))
        return torch.stack(found).mean()

    return [Term("alignment", 1.0, alignment), Term("uniformity", weight, uniformity)]


@entry(
    paper="Bardes et al. 2022 (VICReg)",
    topic="geometry",
    modalities="2 or more",
    cost="B d² for each modality",
    minimum="matches coincide, every dimension varies and none twice",
    temperature=1.0,
    learn_temperature=False,
)
def vicreg(invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> list[Term]:
    """Matches alike, every dimension's deviation at least one, dimensions uncorrelated; on raw rows, no negatives."""

    def alike(batch: Batch, temperature: Tensor) -> Tensor:
        return raw_pairs(batch, lambda x, y: (x - y).square().mean())

    def spread(batch: Batch, temperature: Tensor) -> Tensor:
        return _each(batch, lambda x: (1 - (x.var(0) + 1e-4).sqrt()).clamp_min(0).mean())

    def apart(batch: Batch, temperature: Tensor) -> Tensor:
        def one(x: Tensor) -> Tensor:
            c = torch.cov(x.T)
            return (c.square().sum() - c.diagonal().square().sum()) / x.shape[1]

        return _each(batch, one)

    return [
        Term("invariance", invariance, alike),
        Term("variance", variance, spread),
        Term("covariance", covariance, apart),
    ]


def _each(batch: Batch, loss: Callable[[Tensor], Tensor]) -> Tensor:
    found = []
    for m in batch.names:
        x = wide(batch.only(m).modalities[m])
        found.append(loss(x) if len(x) > 1 else nothing(x))
    return torch.stack(found).mean()


@entry(
    paper="Zhuo et al. 2023 (WhitenedCSE)",
    topic="geometry",
    modalities="2 or more",
    cost="B² d, and d³/G² for whitening",
    minimum="perfect alignment of the whitened rows",
    temperature=0.05,
)
def whitened(groups: int = 8, eps: float = 1e-4, shuffle: bool = True) -> list[Term]:
    """Contrast of rows whitened in groups of dimensions, which are shuffled for each modality and step.

    Released code shuffles once for contiguous thirds of an interleaved batch; the paper's idea, one shuffle a copy, is
    done here. Needs more rows than dimensions in a group. Nothing of it remains at test time.
    """

    def loss(batch: Batch, temperature: Tensor) -> Tensor:
        def one(x: Tensor, y: Tensor) -> Tensor:
            u, v = (unit(geometry.whitened(z, groups, eps, shuffle), dim=1) for z in (x, y))
            return heads.symmetric(u @ v.T / temperature)

        return raw_pairs(batch, one)

    return [Term("contrast", 1.0, loss)]


@entry(
    paper="MambaRec 2025; kernel of Gretton et al. 2012",
    topic="geometry",
    modalities="2 or more",
    cost="4 B² d for each pair",
    minimum="perfect alignment, modalities alike as clouds",
)
def mmd(weight: float = 2.0, sigma: float = 1.0) -> list[Term]:
    """InfoNCE and the maximum mean discrepancy of the two modalities: the gap falls with the weight, retrieval has an
    optimum inside. The published grid is 0.1 to 0.2 beside another contrast; towers here answer to more."""

    def discrepancy(batch: Batch, temperature: Tensor) -> Tensor:
        return over_pairs(batch, lambda x, y: geometry.mmd(x, y, sigma=sigma))

    return [Term("contrast", 1.0, clip), Term("mmd", weight, discrepancy)]


@entry(
    paper="Yamaguchi et al. 2025 (CLIP-Refine)",
    topic="geometry",
    modalities="2, with the model before as teacher",
    cost="2 B² d",
    minimum="near a shared random target, and near the teacher's similarities",
    needs=("teacher",),
    teacher="start",
    temperature=1.0,
    learn_temperature=False,
)
def clip_refine(refine: float = 1.0, distil: float = 1.0, share: float = 0.5) -> list[Term]:
    """Pull both rows of a pair to one random target (RaFA) and hold the similarities, half known, half one-hot (HyCD).

    On raw rows and raw dot products. The best answer to unpredictable noise is a row of zero, so norms shrink: few
    steps, small learning rate; a weight of 1 is the paper's for lr 1e-6. Start from a model that has a gap.
    """

    def rafa(batch: Batch, temperature: Tensor) -> Tensor:
        part = batch.only(*batch.names)
        x = [wide(part.modalities[m]) for m in part.names]
        if not len(x[0]):
            return nothing(*x)
        z = torch.randn_like(x[0])  # one draw for both rows of a pair
        return torch.stack([(v - z).square().mean() for v in x]).sum()

    def hycd(batch: Batch, temperature: Tensor) -> Tensor:
        return hybrid(batch, share, temperature)

    return [Term("random_alignment", refine, rafa), Term("hybrid_distillation", distil, hycd)]


def hybrid(batch: Batch, share: float, temperature: Tensor) -> Tensor:
    """KL from targets half one-hot, half the teacher's softmax over raw dot products, both ways (HyCD)."""
    losses = []
    for a, b in batch.pairs:
        part = batch.only(a, b)
        x, y = wide(part.modalities[a]), wide(part.modalities[b])
        s0 = part.taught(a, "hybrid distillation") @ part.taught(b, "hybrid distillation").T / temperature
        s = x @ y.T / temperature
        if not len(x):
            losses.append(nothing(x, y))
            continue
        for mine, theirs in ((s, s0), (s.T, s0.T)):
            p = targets.blended(theirs, share)
            losses.append(heads.soft(mine, p) + torch.special.xlogy(p, p).sum(1).mean())
    return torch.stack(losses).mean()


@entry(
    paper="Qiu et al. 2024 (MacCap); Gu et al. 2023 (CLOSE)",
    topic="geometry",
    modalities="2 or more, first = noised",
    cost="B² d for each pair",
    minimum="perfect alignment up to the noise",
    guess=math.log,
)
def noise_injection(variance: float = 0.016) -> list[Term]:
    """InfoNCE with Gaussian noise on the anchor's unit rows, of the width of a modality gap, then scaled back.

    0.016 for each coordinate is no jitter: in 512 dimensions the noised row keeps a cosine of 0.33. Choose it near the
    measured variance of matched differences (curve gap_moments).
    """

    def loss(batch: Batch, temperature: Tensor) -> Tensor:
        losses = []
        for m in batch.names[1:]:
            part = batch.only(batch.anchor, m)
            x, y = part.unit(batch.anchor), part.unit(m)
            x = unit(x + variance**0.5 * torch.randn_like(x), dim=1)
            losses.append(heads.symmetric(x @ y.T / temperature) if len(x) > 1 else nothing(x, y))
        return torch.stack(losses).mean()

    return [Term("contrast", 1.0, loss)]


class GapGuard(nn.Module):
    """Remembers how similar non-matches were at the start, and charges for moving away from that."""

    start: Tensor

    def __init__(self, tolerance: float) -> None:
        super().__init__()
        self.tolerance = tolerance
        self.register_buffer("start", torch.tensor(math.nan))

    def forward(self, batch: Batch, temperature: Tensor) -> Tensor:
        def non_matches(x: Tensor, y: Tensor) -> Tensor:
            s = x @ y.T
            return (s.sum() - s.diagonal().sum()) / (len(x) * (len(x) - 1))

        now = over_pairs(batch, non_matches)
        if bool(self.start.isnan()):
            self.start.copy_(now.detach())
        return ((now - self.start.to(now)).abs() - self.tolerance).clamp_min(0).square()


@entry(
    paper="LLM4GTA 2025; rule after MG-CLIP's code, the differentiable form is ours",
    topic="geometry",
    modalities="2 or more",
    cost="2 B² d for each pair",
    minimum="perfect alignment with non-matches as similar as at the start",
)
def gap_guard(weight: float = 10.0, tolerance: float = 0.05) -> list[Term]:
    """InfoNCE that keeps the gap: a charge once the mean cosine of non-matches has moved by more than a tolerance.

    The published rule stops training at 10 % change of a logit; cosines may start near 0, so this one is absolute.
    """
    return [Term("contrast", 1.0, clip), Term("guard", weight, GapGuard(tolerance))]


@entry(
    paper="Louiset et al. 2024 (SepCLR)",
    topic="geometry",
    modalities="2 views; rows hold common and salient halves; labels: 1 = target, 0 = background",
    cost="6 B² d",
    minimum="common half shared, salient half empty for the background",
    needs=("labels",),
    temperature=0.5,
    learn_temperature=False,
    data="target",
)
def sepclr(salient: float = 1000.0, empty: float = 1000.0, joint: float = 10.0) -> list[Term]:
    """A common and a salient half of each row: alignment and uniformity of both, an empty salient half for the
    background, and little joint information, by a kernel estimate of joint entropy.

    The salient half is not scaled to length one. Weights are the published ones for separate encoders.
    """

    def halves(batch: Batch) -> list[tuple[Tensor, Tensor, Tensor]]:
        part = batch.only(*batch.names[:2])
        target = part.need("labels", "recipe sepclr")
        known = target >= 0  # a row without a label is neither target nor background
        out = []
        for m in part.names[:2]:
            x = wide(part.modalities[m])[known]
            c, s = x.chunk(2, dim=1)
            out.append((unit(c, dim=1), s, target[known].to(x)[:, None]))
        return out

    def kernel_align(a: Tensor, b: Tensor, tau: Tensor) -> Tensor:
        return (a - b).square().sum(1).mean() / (2 * tau)

    def kernel_uniform(a: Tensor, tau: Tensor) -> Tensor:
        i, j = torch.triu_indices(len(a), len(a), 1, device=a.device)
        d = geometry.between(a, a)[i, j]
        return (-d / (2 * tau)).logsumexp(0) - math.log(max(len(i), 1))

    def common(batch: Batch, tau: Tensor) -> Tensor:
        (c1, _, _), (c2, _, _) = halves(batch)
        return kernel_align(c1, c2, tau) + kernel_uniform(c1, tau) + kernel_uniform(c2, tau)

    def own(batch: Batch, tau: Tensor) -> Tensor:
        (_, s1, m), (_, s2, _) = halves(batch)
        there = m[:, 0] > 0
        near = kernel_align(s1[there], s2[there], tau) if bool(there.any()) else nothing(s1)
        return near + kernel_uniform(s1 * m, tau) + kernel_uniform(s2 * m, tau)

    def nothing_left(batch: Batch, tau: Tensor) -> Tensor:
        (_, s1, m), (_, s2, _) = halves(batch)
        there = m[:, 0] == 0
        if not bool(there.any()):
            return nothing(s1, s2)
        return (s1[there].square().sum(1).mean() + s2[there].square().sum(1).mean()) / (2 * tau) / 2

    def entropy(batch: Batch, tau: Tensor) -> Tensor:
        found = [geometry.joint_entropy(c, s * m, 2 * tau) for c, s, m in halves(batch)]
        return torch.stack(found).mean()

    return [
        Term("common", 1.0, common),
        Term("salient", salient, own),
        Term("empty", empty, nothing_left),
        Term("joint", joint, entropy),
    ]


class LayerPooler(nn.Module):
    """Learned weights over layers, a linear head, and a frozen random head, as GRACE has them."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.profile = nn.Parameter(torch.zeros(max(layers, 1)))
        self.head, self.reference = nn.Linear(width, 1), nn.Linear(width, 1).requires_grad_(False)

    def pooled(self, x: Tensor) -> Tensor:
        """(B, d) as it is; (B, L, d) weighted over its layers."""
        x = wide(x)
        return x if x.ndim == 2 else (self.profile.softmax(0)[:, None] * x).sum(1)


@entry(
    paper="Khanna et al. 2025 (ALKALI/GRACE)",
    topic="geometry",
    modalities="3: safe, unsafe, jailbreak of one prompt, (B, d) or with layers (B, L, d)",
    min_modalities=3,
    cost="B d",
    minimum="safe a margin away from both others, and these together",
    temperature=1.0,
    learn_temperature=False,
    data="roles",
)
def grace(
    dims: dict[str, int],
    layers: int = 0,
    separate: float = 1.0,
    merge: float = 1.0,
    smooth: float = 0.1,
    preference: float = 1.0,
    apart: float = 5.0,
    together: float = 1.0,
    beta: float = 0.8,
) -> list[Term]:
    """Safe apart from unsafe and jailbreak by a margin, these two within another, over a learned profile of layers.

    Margins are lengths of raw rows, so `separate` can be met by inflating norms: read AVQI, which is blind to scale. As
    released, the reference policy is an untrained random head, and the smoothness runs over the batch.
    """
    pooler = LayerPooler(next(iter(dims.values())), layers)

    def three(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        part = batch.only(*batch.names[:3])
        s, u, j = (pooler.pooled(part.modalities[m]) for m in part.names[:3])
        return s, u, j

    def far(a: Tensor, b: Tensor) -> Tensor:
        return torch.nn.functional.pairwise_distance(a, b)

    def sep(batch: Batch, temperature: Tensor) -> Tensor:
        s, u, j = three(batch)
        return ((apart - far(s, u)).clamp_min(0).mean() + (apart - far(s, j)).clamp_min(0).mean()) / 2

    def near(batch: Batch, temperature: Tensor) -> Tensor:
        _, u, j = three(batch)
        return (far(u, j) - together).clamp_min(0).mean()

    def flat(batch: Batch, temperature: Tensor) -> Tensor:
        _, u, j = three(batch)
        p, q = (pooler.head(x)[:, 0].log_softmax(0) for x in (u, j))
        return (p.exp() * (p - q)).sum() / len(u)

    class Preferred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pooler = pooler

        def forward(self, batch: Batch, temperature: Tensor) -> Tensor:
            s, u, _ = three(batch)
            own = self.pooler.head(s) - self.pooler.head(u)
            margin = own - beta * (self.pooler.reference(s) - self.pooler.reference(u))
            return -torch.nn.functional.logsigmoid(margin).mean()

    return [
        Term("preference", preference, Preferred()),
        Term("separate", separate, sep),
        Term("merge", merge, near),
        Term("smooth", smooth, flat),
    ]
