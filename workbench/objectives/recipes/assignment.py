"""Assignment: which part of one side belongs to which part of the other, found on the way."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from workbench.objectives import heads, transport
from workbench.objectives.batch import Batch, nothing, wide
from workbench.objectives.recipes.base import Term, entry
from workbench.objectives.recipes.contrast import clip, over_pairs

unit = torch.nn.functional.normalize


def transported(x: Tensor, y: Tensor, x_present: Tensor | None, y_present: Tensor | None, eps: float) -> Tensor:
    """Similarity of bags by the transport plan between their tokens: (Q, S, d), (K, T, d) unit rows → (Q, K).

    The plan is found without a gradient; the similarity it weighs has one.
    """
    s = torch.einsum("qsd,ktd->qkst", x, y)
    cost = 1 - s.detach()
    q, k, n, m = s.shape
    there = torch.ones(q, n, dtype=torch.bool, device=s.device) if x_present is None else x_present
    rows = (there / there.sum(1, keepdim=True).clamp_min(1)).to(s)[:, None]
    if y_present is not None:
        cost = cost.masked_fill(~y_present[None, :, None], 1e3)  # out of reach, whatever the marginals ask for
    plan = transport.sinkhorn(cost, eps, 20, rows.expand(q, k, n))
    if y_present is not None:
        plan = plan * y_present[None, :, None]
        plan = plan / plan.sum((-2, -1), keepdim=True).clamp_min(torch.finfo(s.dtype).tiny)
    return (plan * s).sum((-2, -1))


@entry(
    paper="Huang et al. 2025 (ORMA)",
    topic="assignment",
    modalities="2, with tokens of both",
    cost="B² T² (d + iterations)",
    minimum="wholes aligned, and each token carried to its part",
    needs=("tokens",),
)
def orma(whole: float = 0.3, parts: float = 0.7, eps: float = 0.1) -> list[Term]:
    """Contrast of wholes, and of bags of tokens by the optimal transport between them.

    The paper has three levels (sentence, phrase-motif, token-atom, weights .3, .2, .5); two here, as data with motifs
    is rare. Its code sends each token to its *worst* part (argmin of the plan) and detaches one side; not done here.
    """

    def bags(batch: Batch, temperature: Tensor) -> Tensor:
        tokens = batch.need("tokens", "recipe orma")
        (a, x), (b, y) = list(tokens.items())[:2]
        there = batch.tokens_present or {}
        s = transported(unit(wide(x), dim=-1), unit(wide(y), dim=-1), there.get(a), there.get(b), eps)
        return heads.symmetric(s / temperature)

    return [Term("wholes", whole, clip), Term("transport", parts, bags)]


class Swapped(nn.Module):
    """Shared prototypes; each modality must predict the other's balanced assignment to them."""

    def __init__(self, dims: dict[str, int], prototypes: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.prototypes = nn.Parameter(unit(torch.randn(prototypes, next(iter(dims.values()))), dim=1))

    def forward(self, batch: Batch, temperature: Tensor) -> Tensor:
        def swap(x: Tensor, y: Tensor) -> Tensor:
            c = unit(self.prototypes, dim=1).to(x)
            sx, sy = x @ c.T, y @ c.T
            with torch.no_grad():
                qx, qy = (transport.assigned(s, self.eps) for s in (sx, sy))
                qx, qy = (q / q.sum(1, keepdim=True) for q in (qx, qy))
            return (heads.soft(sx / temperature, qy) + heads.soft(sy / temperature, qx)) / 2

        return over_pairs(batch, swap)


@entry(
    paper="Caron et al. 2020 (SwAV), across modalities",
    topic="assignment",
    modalities="2 or more",
    cost="B K d for each modality",
    minimum="both rows of an item at the same prototype, prototypes evenly used",
    temperature=0.1,
)
def swapped(dims: dict[str, int], prototypes: int = 64, eps: float = 0.05) -> list[Term]:
    """Each modality predicts the other's assignment to shared prototypes, balanced by transport: no negatives."""
    return [Term("swapped", 1.0, Swapped(dims, prototypes, eps))]


class Codebook(nn.Module):
    """Rows or bags of tokens as sparse mixtures of shared codes."""

    def __init__(self, dims: dict[str, int], codes: int, sharpness: float) -> None:
        super().__init__()
        self.sharpness = sharpness
        d = next(iter(dims.values()))
        self.codes = nn.Parameter(torch.randn(codes, d))
        self.queries = nn.ModuleDict({m: nn.Linear(w, d) for m, w in dims.items()})

    def mixture(self, m: str, x: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Weights over codes (B, K), and the mixture (B, d), of rows (B, d) or of tokens (B, T, d)."""
        q = self.queries[m](x)
        r = q @ self.codes.T / q.shape[-1] ** 0.5 / self.sharpness
        if r.ndim == 3:
            r = r if present is None else r.masked_fill(~present[..., None], -torch.inf)
            r = r.amax(1)
        w = transport.sparsemax(r)
        return w, w @ self.codes

    def forward(self, batch: Batch, temperature: Tensor) -> Tensor:
        losses = []
        for a, b in batch.pairs:
            part = batch.only(a, b)
            tokens, there = part.tokens or {}, part.tokens_present or {}
            if len(part) < 2:
                losses.append(nothing(*batch.modalities.values()))
                continue
            x, y = (
                unit(self.mixture(m, wide(tokens[m]) if m in tokens else part.unit(m), there.get(m))[1], dim=1)
                for m in (a, b)
            )
            losses.append(heads.symmetric(x @ y.T / temperature))
        return torch.stack(losses).mean()


@entry(
    paper="Chen et al. 2023 (FDT)",
    topic="assignment",
    modalities="2 or more, tokens if there are any",
    cost="B T K d, B² d",
    minimum="both rows of an item the same mixture of codes",
    guess=math.log,
)
def fdt(dims: dict[str, int], codes: int = 64, sharpness: float = 10.0) -> list[Term]:
    """Contrast of sparse mixtures over one learned codebook that all modalities share.

    Too sparse too early, and images and texts use codes apart from each other: start soft (a large `sharpness`
    divides the scores), the shipped value is 1,000 for 16,384 codes. Padded tokens are masked, where released code
    lets them score 0.
    """
    return [Term("contrast", 1.0, Codebook(dims, codes, sharpness))]
