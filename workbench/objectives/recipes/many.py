"""Many modalities: one score for a whole tuple, or one term for all views of an item."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from workbench.objectives import heads, scores
from workbench.objectives.batch import Batch, nothing
from workbench.objectives.recipes.base import Term, entry


@entry(
    paper="Cicchetti et al. 2025 (GRAM)",
    topic="many modalities",
    modalities="2 or more, first = anchor",
    cost="(M−1) B² d",
    minimum="anchor in the span of the others; perfect alignment costs log B exactly",
    guess=math.log,
    aligned=math.log,
    queue=True,
)
def gram(smoothing: float = 0.1) -> list[Term]:
    """Softmax contrast of the anchor with whole tuples, by the volume they span.

    Not minimised by perfect alignment: if all vectors of an item coincide, every tuple is flat and the loss is log B.
    It rewards an anchor in the span of the others, and pushes the others apart. Blind to sign. The paper's matching
    head is not part of it. Released code takes √|det| without a guard, whose gradient at collapse is NaN.
    """

    def volume_contrast(batch: Batch, temperature: Tensor) -> Tensor:
        others = [m for m in batch.names if m != batch.anchor]
        exists = batch.has(*batch.names)
        v = scores.gram_volume(batch.unit(batch.anchor), *(batch.unit_keys(m) for m in others))
        rows = heads.softmax(
            -v / temperature, batch.target, smoothing=smoothing, queries=exists, keys=batch.keyed(*batch.names)
        )
        if batch.keys is None:
            back = -v.T / temperature
        else:  # tuples of the batch against the anchors among the keys
            back = scores.gram_volume(batch.unit_keys(batch.anchor), *(batch.unit(m) for m in others))
            back = -back.T / temperature
        columns = heads.softmax(back, batch.target, smoothing=smoothing, queries=exists, keys=batch.keyed(*batch.names))
        return (rows + columns) / 2

    return [Term("volume_contrast", 1.0, volume_contrast)]


@entry(
    paper="Grassucci et al. 2025 (TRIANGLE)",
    topic="many modalities",
    modalities="3, first = anchor",
    min_modalities=3,
    cost="2 B² d",
    minimum="the three ends on a line; perfect alignment costs log B exactly",
    guess=math.log,
    aligned=math.log,
)
def triangle(smoothing: float = 0.1, released: bool = False) -> list[Term]:
    """Softmax contrast of the anchor with pairs of the other two, by the area of their triangle.

    Sees sign, unlike the volume, but has the same flaw: where all vectors of an item coincide, every triangle is flat
    and the loss is log B. Released code drops the root and a factor: twice the squared area (`released=True`).
    """

    def area_contrast(batch: Batch, temperature: Tensor) -> Tensor:
        part = batch.only(*batch.names[:3])
        if len(part) < 2:
            return nothing(*batch.modalities.values())
        area = scores.triangle_area(*(part.unit(m) for m in part.names[:3]), squared=released)
        return heads.symmetric(-area / temperature, smoothing=smoothing)

    return [Term("area_contrast", 1.0, area_contrast)]


@entry(
    paper="Liu et al. 2025 (PMRL)",
    topic="many modalities",
    modalities="2 or more",
    cost="B² d and B M³",
    minimum="all vectors of an item parallel, items apart",
    temperature=0.1,
)
def pmrl(intra_temperature: float = 0.05, sign: float = 0.1) -> list[Term]:
    """Each tuple's leading singular value against the rest, and the leading directions of items against each other.

    No anchor. Singular values cannot see sign, so a small term asks for positive cosines with the leading direction.
    Released code multiplies singular vectors whose sign is arbitrary; here each points along its tuple's sum.
    """

    def leading(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        part = batch.only(*batch.names)
        x = torch.stack([part.unit(m) for m in part.names], 1)  # (B, M, d)
        gram = x @ x.mT
        # a trace of difference keeps equal singular values, and so the gradient of their vectors, apart
        m = gram.shape[-1]
        tilt = torch.linspace(0, 1e-5, m, dtype=x.dtype, device=x.device).diag()
        eigen, vectors = torch.linalg.eigh(gram + tilt)
        direction = torch.nn.functional.normalize((vectors[..., -1:].mT @ x)[:, 0], dim=1)
        along = (direction * x.sum(1)).sum(1, keepdim=True)
        direction = direction * torch.where(along < 0, -1.0, 1.0)
        return x, eigen.flip(-1).clamp_min(1e-12).sqrt(), direction

    def inside(batch: Batch, temperature: Tensor) -> Tensor:
        _, sigma, _ = leading(batch)
        target = torch.zeros(len(sigma), dtype=torch.long, device=sigma.device)
        return heads.softmax(sigma / intra_temperature, target) if len(sigma) else nothing(sigma)

    def between(batch: Batch, temperature: Tensor) -> Tensor:
        _, _, u = leading(batch)
        return heads.symmetric(u @ u.T / temperature) if len(u) else nothing(u)

    def signed(batch: Batch, temperature: Tensor) -> Tensor:
        x, _, u = leading(batch)
        return 1 - (x * u[:, None]).sum(-1).mean() if len(u) else nothing(u)

    return [Term("concentration", 1.0, inside), Term("directions", 1.0, between), Term("sign", sign, signed)]


def views(batch: Batch) -> Tensor:
    """Unit rows of the items that have every modality, (N views, M items, d)."""
    part = batch.only(*batch.names)
    return torch.stack([part.unit(m) for m in part.names])


@entry(
    paper="Koromilas et al. 2025 (MV-InfoNCE)",
    topic="many modalities",
    modalities="2 or more, all views alike",
    cost="(N B)² d",
    minimum="all views of an item at one point, items apart",
    temperature=0.5,
)
def mv_infonce() -> list[Term]:
    """One term an item: all ordered pairs of its views against every other vector of the batch.

    The denominator holds other views of others, the same view of others, and the positives: as the released code has
    it; its README leaves the same view out.
    """

    def contrast(batch: Batch, temperature: Tensor) -> Tensor:
        u = views(batch)
        n, m, _ = u.shape
        if m < 2:
            return nothing(u)
        s = torch.einsum("lid,kjd->likj", u, u) / temperature
        item = torch.eye(m, dtype=torch.bool, device=u.device)
        view = torch.eye(n, dtype=torch.bool, device=u.device)
        myself = view[:, None, :, None] & item[None, :, None, :]
        match = ~view[:, None, :, None] & item[None, :, None, :]
        positive = s.masked_fill(~match, -torch.inf).permute(1, 0, 2, 3).flatten(1).logsumexp(1)
        every = s.masked_fill(myself, -torch.inf).permute(1, 0, 2, 3).flatten(1).logsumexp(1)
        return (every - positive).mean()

    return [Term("contrast", 1.0, contrast)]


@entry(
    paper="Koromilas et al. 2025 (MV-DHEL)",
    topic="many modalities",
    modalities="2 or more, all views alike",
    cost="N B² d",
    minimum="all views of an item at one point, each view spread; may be negative",
    temperature=0.5,
)
def mv_dhel() -> list[Term]:
    """One term an item: all pairs of its views, against the same view of other items only, view by view.

    Alignment and uniformity come apart: cross-view negatives never appear. In log space; the released code multiplies
    raw sums, which overflows, and drops a factor 2. For two views it is the pairwise DHEL loss.
    """

    def contrast(batch: Batch, temperature: Tensor) -> Tensor:
        u = views(batch)
        n, m, _ = u.shape
        if m < 2:
            return nothing(u)
        own = torch.einsum("lid,kid->ilk", u, u) / temperature
        view = torch.eye(n, dtype=torch.bool, device=u.device)
        positive = own.masked_fill(view, -torch.inf).flatten(1).logsumexp(1) - math.log(2)
        same = torch.einsum("lid,ljd->lij", u, u) / temperature
        item = torch.eye(m, dtype=torch.bool, device=u.device)
        negative = same.masked_fill(item, -torch.inf).logsumexp(2).sum(0)
        return (negative - positive).mean()

    return [Term("contrast", 1.0, contrast)]


@entry(
    paper="Girdhar et al. 2023 (ImageBind); Zhu et al. 2024 (LanguageBind)",
    topic="many modalities",
    modalities="2 or more, first = frozen anchor",
    cost="(M−1) B² d",
    minimum="every modality at the anchor's vector",
    guess=math.log,
    learns="others",
)
def bind() -> list[Term]:
    """Every modality against one anchor that does not move; the others meet only through it.

    Items that lack a modality are left out of its term, so each may be paired with the anchor on items of its own.
    """

    def contrast(batch: Batch, temperature: Tensor) -> Tensor:
        losses = []
        for m in batch.names[1:]:
            part = batch.only(batch.anchor, m)
            x, y = part.unit(batch.anchor).detach(), part.unit(m)
            losses.append(heads.symmetric(x @ y.T / temperature) if len(x) > 1 else nothing(y))
        return torch.stack(losses).mean()

    return [Term("contrast", 1.0, contrast)]
