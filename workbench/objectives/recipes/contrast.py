"""Pairwise contrast: a query against keys, one-hot, in all the ways a softmax or a sigmoid can be bent."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from workbench.objectives import heads, scores
from workbench.objectives.batch import Batch, nothing
from workbench.objectives.recipes.base import Term, entry

Loss = Callable[[Tensor, Tensor], Tensor]  # of matched rows, (n, d) and (n, d)


def over_pairs(batch: Batch, loss: Loss) -> Tensor:
    """The mean over pairs of modalities of a loss of two sets of matched unit rows, only those items that have both."""
    losses = []
    for a, b in batch.pairs:
        part = batch.only(a, b)
        x, y = part.unit(a), part.unit(b)
        losses.append(loss(x, y) if len(x) > 1 else nothing(x, y))
    return torch.stack(losses).mean()


def clip(batch: Batch, temperature: Tensor) -> Tensor:
    """The symmetric softmax contrast of all pairs of modalities, as other recipes stand on it."""
    return over_pairs(batch, lambda x, y: heads.symmetric(scores.cosine(x, y) / temperature))


@entry(
    paper="Radford et al. 2021 (CLIP); van den Oord et al. 2018 (InfoNCE)",
    topic="contrast",
    modalities="2 or more",
    cost="B² d for each pair",
    minimum="perfect alignment, negatives apart",
    guess=math.log,
    queue=True,
)
def infonce() -> list[Term]:
    """Symmetric softmax contrast, averaged over all pairs of modalities and both directions."""

    def contrast(batch: Batch, temperature: Tensor) -> Tensor:
        losses = []
        for pair in batch.pairs:
            exists = batch.has(*pair)
            for query, key in (pair, pair[::-1]):
                s = scores.cosine(batch.unit(query), batch.unit_keys(key)) / temperature
                losses.append(heads.softmax(s, batch.target, queries=exists, keys=batch.keyed(key)))
        return torch.stack(losses).mean()

    return [Term("contrast", 1.0, contrast)]


class SigmoidPairs(nn.Module):
    """Sigmoid contrast of all pairs with a learned bias."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def forward(self, batch: Batch, temperature: Tensor) -> Tensor:
        def loss(x: Tensor, y: Tensor) -> Tensor:
            own = torch.eye(len(x), dtype=torch.bool, device=x.device)
            return heads.sigmoid(scores.cosine(x, y) / temperature + self.bias, own)

        return over_pairs(batch, loss)


@entry(
    paper="Zhai et al. 2023 (SigLIP)",
    topic="contrast",
    modalities="2 or more",
    cost="B² d for each pair",
    minimum="matches above, non-matches below the bias",
    temperature=0.1,
)
def siglip(bias: float = -10.0) -> list[Term]:
    """Every pair judged alone by a sigmoid: no softmax over the batch, so batches may be small or split.

    Pulls matches above a learned threshold, pushes every other pair below it. The bias starts at −10, as nearly all
    pairs are non-matches; one released follow-up starts it at 0 by a slip, which makes the first loss huge.
    """
    return [Term("sigmoid", 1.0, SigmoidPairs(bias))]


@entry(
    paper="Yeh et al. 2022 (DCL)",
    topic="contrast",
    modalities="2 or more",
    cost="B² d for each pair",
    minimum="unbounded: matches near, non-matches far",
    guess=lambda b: math.log(max(b - 1, 1)),
)
def decoupled() -> list[Term]:
    """InfoNCE whose denominator leaves the match out: small batches keep their gradient."""

    def contrast(batch: Batch, temperature: Tensor) -> Tensor:
        def loss(x: Tensor, y: Tensor) -> Tensor:
            s = scores.cosine(x, y) / temperature
            return (heads.decoupled(s) + heads.decoupled(s.T)) / 2

        return over_pairs(batch, loss)

    return [Term("decoupled", 1.0, contrast)]


@entry(
    paper="Fürst et al. 2022 (CLOOB)",
    topic="contrast",
    modalities="2 or more",
    cost="5 B² d for each pair",
    minimum="unbounded: retrieved matches near, non-matches far",
    temperature=1 / 30,
    learn_temperature=False,
)
def infoloob(beta: float = 8.0) -> list[Term]:
    """Leave-one-out contrast of rows retrieved from the batch by a modern Hopfield network.

    Both rows of a pair are first replaced by what they retrieve from the rows of one modality, then of the other;
    shared structure of the batch is enriched, and the match stays out of the denominator. Temperature fixed at 1/30.
    """

    def retrieved(stored: Tensor, query: Tensor) -> Tensor:
        return torch.nn.functional.normalize((beta * query @ stored.T).softmax(1) @ stored, dim=1)

    def contrast(batch: Batch, temperature: Tensor) -> Tensor:
        def loss(x: Tensor, y: Tensor) -> Tensor:
            ux, uy, vx, vy = retrieved(x, x), retrieved(x, y), retrieved(y, x), retrieved(y, y)
            return heads.decoupled(ux @ uy.T / temperature) + heads.decoupled((vx @ vy.T / temperature).T)

        return over_pairs(batch, loss)

    return [Term("leave_one_out", 1.0, contrast)]


@entry(
    paper="Goel et al. 2022 (CyCLIP)",
    topic="contrast",
    modalities="2 or more",
    cost="3 B² d for each pair",
    minimum="perfect alignment, negatives apart",
    guess=math.log,
)
def cyclip(cross: float = 0.25, within: float = 0.25) -> list[Term]:
    """InfoNCE with two consistencies: similarities across must be symmetric, and alike within both modalities."""

    def across(batch: Batch, temperature: Tensor) -> Tensor:
        return over_pairs(batch, lambda x, y: (x @ y.T - y @ x.T).square().sum() / len(x))

    def inside(batch: Batch, temperature: Tensor) -> Tensor:
        return over_pairs(batch, lambda x, y: (x @ x.T - y @ y.T).square().sum() / len(x))

    return [Term("contrast", 1.0, clip), Term("cross", cross, across), Term("within", within, inside)]


@entry(
    paper="Faghri et al. 2018 (VSE++); in the form of VLANet (2020)",
    topic="contrast",
    modalities="2 or more",
    cost="B² d for each pair",
    minimum="every match above every non-match by the margin",
    learn_temperature=False,
    temperature=1.0,
)
def triplet(margin: float = 0.2, hardest: bool = False) -> list[Term]:
    """Margin ranking both ways: a match must beat every non-match, or only the hardest, by a margin of cosine."""

    def ranking(batch: Batch, temperature: Tensor) -> Tensor:
        return over_pairs(batch, lambda x, y: heads.hinge(x @ y.T, margin, hardest=hardest))

    return [Term("margin", 1.0, ranking)]


@entry(
    paper="Radenovic et al. 2023 (DiHT); after Robinson et al. 2021",
    topic="contrast",
    modalities="2 or more",
    cost="B² d for each pair",
    minimum="perfect alignment, negatives apart",
    guess=math.log,
)
def hard_negative(alpha: float = 1.0, beta: float = 0.25) -> list[Term]:
    """InfoNCE in which a non-match weighs the more, the nearer it is: w ∝ exp(β s), with mean 1 over them."""

    def one_way(s: Tensor) -> Tensor:
        own = torch.eye(len(s), dtype=torch.bool, device=s.device)
        tilted = (beta * s).masked_fill(own, -torch.inf)
        # log of w·exp(s): the weights average to one over the B − 1 non-matches
        others = s + tilted - tilted.logsumexp(1, keepdim=True) + math.log(len(s) - 1)
        denominator = torch.where(own, s + math.log(alpha), others).logsumexp(1)
        return (denominator - s.diagonal()).mean()

    def contrast(batch: Batch, temperature: Tensor) -> Tensor:
        def loss(x: Tensor, y: Tensor) -> Tensor:
            s = x @ y.T / temperature
            return (one_way(s) + one_way(s.T)) / 2

        return over_pairs(batch, loss)

    return [Term("hard_contrast", 1.0, contrast)]


def intra_modal(x: Tensor, topk: int, duplicate: float) -> Tensor:
    """Mean log-sum of the largest cosines with other rows, near-duplicates left out: (n, d) → scalar (FG-CLIP 2)."""
    s = x @ x.T
    own = torch.eye(len(x), dtype=torch.bool, device=x.device)
    s = s.masked_fill(own | (s > duplicate), 0.0)
    return s.topk(min(topk, len(x) - 1), dim=1).values.logsumexp(1).mean()


@entry(
    paper="Xie et al. 2025 (FG-CLIP 2)",
    topic="contrast",
    modalities="2 or more",
    cost="2 B² d for each pair",
    minimum="matches above the bias; rows of one modality spread",
    temperature=0.1,
)
def fgclip2(
    modality: str = "", weight: float = 0.1, topk: int = 10, duplicate: float = 0.95, bias: float = -10.0
) -> list[Term]:
    """SigLIP with the textual intra-modal term: a row's ten nearest rows of its own modality are pushed away.

    Rows above a cosine of 0.95 count as the same phrase and are left alone. The term has no positive and no
    temperature: log 10 where all rows are orthogonal. `modality` names the text; default: the anchor.
    """

    def spread(batch: Batch, temperature: Tensor) -> Tensor:
        name = modality or batch.anchor
        x = batch.only(name).unit(name)
        return intra_modal(x, topk, duplicate) if len(x) > 1 else nothing(x)

    return [Term("sigmoid", 1.0, SigmoidPairs(bias)), Term("intra_modal", weight, spread)]


@entry(
    paper="Wang et al. 2024 (DeGLA)",
    topic="contrast",
    modalities="2, with negatives and a teacher for one of them",
    cost="(1 + H) B² d",
    minimum="own caption above its hard negatives",
    needs=("negatives", "teacher"),
    teacher="ema",
    temperature=0.1,
)
def degla(
    image_grounded: float = 0.1, text_grounded: float = 0.1, distil: float = 0.005, scale: float = 10.0
) -> list[Term]:
    """Contrast against all captions and all hard negatives, two local contrasts with each item's own, and distillation.

    `negatives` of the captioned modality (B, H, d); `teacher` both modalities and `<captions>.negatives`. Released code
    masks the text-grounded contrast so that it meets mostly other captions' negatives; here it meets its own.
    """

    def sides(batch: Batch) -> tuple[str, str, Tensor]:
        negatives = batch.need("negatives", "recipe degla")
        (text,) = negatives
        (image,) = [m for m in batch.names if m != text][:1]
        return image, text, torch.nn.functional.normalize(negatives[text], dim=-1)

    def everything(batch: Batch, temperature: Tensor) -> Tensor:
        image, text, n = sides(batch)
        x, y = batch.unit(image), batch.unit(text)
        forward = heads.softmax(torch.cat([x @ y.T, x @ n.flatten(0, 1).T], 1) / temperature, batch.target)
        return (forward + heads.softmax(y @ x.T / temperature, batch.target)) / 2

    def by_image(batch: Batch, temperature: Tensor) -> Tensor:
        image, text, n = sides(batch)
        x, y = batch.unit(image), batch.unit(text)
        own = torch.cat([(x * y).sum(1, keepdim=True), (n @ x[:, :, None])[..., 0]], 1)
        return heads.softmax(own / temperature, torch.zeros(len(x), dtype=torch.long, device=x.device))

    def by_text(batch: Batch, temperature: Tensor) -> Tensor:
        _, text, n = sides(batch)
        y = batch.unit(text)
        taught = torch.nn.functional.normalize(batch.taught(text, "recipe degla"), dim=1)
        own = torch.cat([(y * taught).sum(1, keepdim=True), (n @ y[:, :, None])[..., 0]], 1)
        return heads.softmax(scale * own, torch.zeros(len(y), dtype=torch.long, device=y.device))

    def distilled(batch: Batch, temperature: Tensor) -> Tensor:
        image, text, n = sides(batch)
        total = nothing(n)
        for x, name in ((batch.unit(image), image), (batch.unit(text), text), (n, f"{text}.negatives")):
            taught = torch.nn.functional.normalize(batch.taught(name, "recipe degla"), dim=-1)
            total = total + (x - taught).square().sum()
        return total

    return [
        Term("contrast", 1.0, everything),
        Term("image_grounded", image_grounded, by_image),
        Term("text_grounded", text_grounded, by_text),
        Term("distil", distil, distilled),
    ]
