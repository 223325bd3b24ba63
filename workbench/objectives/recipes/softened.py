"""Softened contrast: targets that are not one-hot, teachers, queues of prototypes, bags, adaptive temperatures."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from workbench.objectives import heads, scores, targets
from workbench.objectives.batch import Batch, nothing, wide
from workbench.objectives.recipes.base import Term, entry
from workbench.objectives.recipes.contrast import clip

unit = torch.nn.functional.normalize


@entry(
    paper="Srinivasa et al. 2023 (CWCL); confirmed in CellCLIP's code",
    topic="softened",
    modalities="2 or more, first = frozen and trusted",
    cost="2 B² d for each pair",
    minimum="rows of the frozen side soft, the others one-hot",
    teacher="inputs",
    guess=lambda b: 2 * math.log(b),
)
def cwcl(power: float = 1.0) -> list[Term]:
    """From the frozen modality: every key is positive by its similarity there; towards it: ordinary contrast. Summed.

    `teacher[first]` may give other vectors of the frozen side to take the weights from. With power 1, as published,
    weights lie mostly in 0.4 to 1, and the targets are nearly even: at small temperatures that loses; try 4.
    """

    def trusted(batch: Batch) -> Tensor:
        known = batch.teacher is not None and batch.anchor in batch.teacher
        x = batch.taught(batch.anchor, "recipe cwcl") if known else batch.unit(batch.anchor)
        return unit(x, dim=1).detach()

    def both(batch: Batch, temperature: Tensor, back: bool) -> Tensor:
        losses = []
        for other in batch.names[1:]:
            part = batch.only(batch.anchor, other)
            x, y = part.unit(batch.anchor), part.unit(other)
            s = x @ y.T / temperature
            if not len(x):
                losses.append(nothing(x, y))
            elif back:
                losses.append(heads.softmax(s.T, part.target))
            else:
                q = trusted(part)
                losses.append(heads.soft(s, targets.continuous(q @ q.T, power)))
        return torch.stack(losses).mean()

    return [
        Term("weighted", 1.0, lambda b, t: both(b, t, False)),
        Term("back", 1.0, lambda b, t: both(b, t, True)),
    ]


@entry(
    paper="Khosla et al. 2020 (SupCon)",
    topic="softened",
    modalities="2 or more, with labels",
    cost="B² d for each pair",
    minimum="each class at one point, classes apart",
    needs=("labels",),
    guess=math.log,
)
def supcon() -> list[Term]:
    """Contrast across modalities in which every row of the query's label is a positive, all alike."""

    def contrast(batch: Batch, temperature: Tensor) -> Tensor:
        losses = []
        for a, b in batch.pairs:
            part = batch.only(a, b)
            s = part.unit(a) @ part.unit(b).T / temperature
            w = targets.same_label(part.need("labels", "recipe supcon")).to(s)
            losses.append((heads.soft(s, w) + heads.soft(s.T, w)) / 2 if len(s) else nothing(s))
        return torch.stack(losses).mean()

    return [Term("contrast", 1.0, contrast)]


def local_to_global(
    locals_: Tensor, global_: Tensor, temperature: Tensor | float, present: Tensor | None = None
) -> Tensor:
    r"""Each part of an item against the wholes of the batch: locals (B, P, d), wholes (B, d), unit rows → scalar (TCL).

    $$-\log\frac{e^{\langle l_{ip},g_i\rangle/\tau}}{e^{\langle l_{ip},g_i\rangle/\tau}+\sum_{j\ne i}\sum_q
    e^{\langle l_{jq},g_i\rangle/\tau}}$$ averaged over an item's parts, then over items; `present` (B, P) masks parts.
    """
    b, p, _ = locals_.shape
    s = torch.einsum("jqd,id->ijq", locals_, global_) / temperature  # wholes i against parts of j
    if present is not None:
        s = s.masked_fill(~present[None], -torch.inf)
    own = torch.eye(b, dtype=torch.bool, device=s.device)
    others = s.masked_fill(own[:, :, None], -torch.inf).flatten(1).logsumexp(1)  # (B,)
    mine = s[torch.arange(b), torch.arange(b)]  # (B, P)
    loss = torch.logaddexp(mine, others[:, None]) - mine
    if present is None:
        return loss.mean()
    loss = torch.where(present, loss, 0.0)
    return (loss.sum(1) / present.sum(1).clamp_min(1)).mean()


@entry(
    paper="Yang et al. 2022 (TCL)",
    topic="softened",
    modalities="2, with a momentum teacher",
    cost="4 B² d",
    minimum="perfect alignment across, and of the views within",
    needs=("teacher",),
    teacher="ema",
)
def tcl(share: float = 0.4) -> list[Term]:
    """Cross-modal contrast with momentum targets, contrast within each modality, and parts against wholes.

    `teacher` holds the momentum features (of another view where there is one). Cross-modal targets are (1 − α) one-hot
    and α the teacher's own softmax; those within a modality stay one-hot. With `tokens` (from the teacher) the parts of
    each item are contrasted with the wholes. Six equal parts in the paper; here the mean of those there are.
    """

    def taught(batch: Batch, m: str) -> Tensor:
        return unit(batch.taught(m, "recipe tcl"), dim=1)

    def cross(batch: Batch, temperature: Tensor) -> Tensor:
        a, b = batch.names[:2]
        losses = []
        for query, key in ((a, b), (b, a)):
            soft = targets.blended(taught(batch, query) @ taught(batch, key).T / temperature.detach(), 1 - share)
            losses.append(heads.soft(batch.unit(query) @ taught(batch, key).T / temperature, soft))
        return torch.stack(losses).mean()

    def within(batch: Batch, temperature: Tensor) -> Tensor:
        losses = [
            heads.softmax(batch.unit(m) @ taught(batch, m).T / temperature, batch.target) for m in batch.names[:2]
        ]
        return torch.stack(losses).mean()

    def parts(batch: Batch, temperature: Tensor) -> Tensor:
        if not batch.tokens:
            return nothing(batch.unit(batch.anchor))
        there = batch.tokens_present or {}
        losses = [
            local_to_global(unit(wide(x).detach(), dim=-1), batch.unit(m), temperature, there.get(m))
            for m, x in batch.tokens.items()
        ]
        return torch.stack(losses).mean()

    return [Term("cross_modal", 1 / 3, cross), Term("within_modal", 1 / 3, within), Term("local_global", 1 / 3, parts)]


class Rebuilt(nn.Module):
    """Small decoders that rebuild one side's latent from the other: a stand-in for CLSR's reconstruction."""

    def __init__(self, dims: dict[str, int]) -> None:
        super().__init__()
        names = list(dims)
        self.decoders = nn.ModuleDict(
            {
                f"{a}>{b}": nn.Sequential(nn.Linear(dims[a], dims[b]), nn.GELU(), nn.Linear(dims[b], dims[b]))
                for a in names
                for b in names
                if a != b
            }
        )

    def forward(self, batch: Batch, temperature: Tensor) -> Tensor:
        losses = []
        for a in batch.names:
            for b in batch.names:
                if a != b:
                    part = batch.only(a, b)
                    x, y = part.unit(a), part.unit(b)
                    squared = (self.decoders[f"{a}>{b}"](x) - y.detach()).square().sum(1)
                    losses.append(squared.mean() if len(x) else nothing(x))
        return torch.stack(losses).mean()


@entry(
    paper="Luo et al. 2023 (CLSR); temperature rule and weights are ours, the published ones are not public",
    topic="softened",
    modalities="2 or more",
    cost="3 B² d for each pair",
    minimum="perfect alignment, rows of a modality apart",
)
def clsr(dims: dict[str, int], gamma: float = 1.0, intra: float = 0.5, rebuild: float = 0.1) -> list[Term]:
    """Contrast with a softer temperature for rows with many near-duplicates, rows of the same modality among the
    negatives, and small decoders from one latent to the other.

    Per query $\\tau_i = \\tau_0(1 + \\gamma h_i)$ with h the mean positive cosine to non-matches in the anchor's space.
    """

    def adaptive(part: Batch, temperature: Tensor) -> Tensor:
        t = part.unit(part.anchor).detach()
        s = (t @ t.T).clamp_min(0)
        own = torch.eye(len(t), dtype=torch.bool, device=t.device)
        h = s.masked_fill(own, 0.0).sum(1) / max(len(t) - 1, 1)
        return (temperature * (1 + gamma * h)).clamp(0.01, 0.5)[:, None]

    def across(batch: Batch, temperature: Tensor, within: bool) -> Tensor:
        losses = []
        for a, b in batch.pairs:
            part = batch.only(batch.anchor, a, b)
            if len(part) < 2:
                losses.append(nothing(*batch.modalities.values()))
                continue
            tau, own = adaptive(part, temperature), torch.eye(len(part), dtype=torch.bool, device=part.unit(a).device)
            for q, k in ((a, b), (b, a)):
                x, y = part.unit(q), part.unit(k)
                s = x @ y.T / tau
                if within:
                    s = torch.cat([s, (x @ x.T / tau).masked_fill(own, -torch.inf)], 1)
                losses.append(heads.softmax(s, part.target))
        return torch.stack(losses).mean()

    return [
        Term("across", 1.0, lambda b, t: across(b, t, False)),
        Term("with_own_modality", intra, lambda b, t: across(b, t, True)),
        Term("rebuild", rebuild, Rebuilt(dims)),
    ]


@entry(
    paper="Qu et al. 2023 (SECLA)",
    topic="softened",
    modalities="2 bags of tokens",
    cost="B² T² d",
    minimum="each member of a bag has its partner in the other",
    needs=("tokens",),
    temperature=1.0,
    learn_temperature=False,
    guess=lambda b: 2 * math.log(b),
)
def secla(agreement: float = 0.15) -> list[Term]:
    """Bag against bag, by each member's best partner in the other bag, in both directions, which must agree.

    Dot products, neither scaled nor cooled. Released code divides both directions by the padded length and lets padding
    take part in the maximum; here padding is masked.
    """

    def bags(batch: Batch) -> tuple[Tensor, Tensor]:
        tokens = batch.need("tokens", "recipe secla")
        (a, x), (b, y) = ((m, wide(v)) for m, v in list(tokens.items())[:2])
        there = batch.tokens_present or {}
        return scores.best_partners(x, y, there.get(a), there.get(b)), scores.best_partners(
            y, x, there.get(b), there.get(a)
        )

    def contrast(batch: Batch, temperature: Tensor) -> Tensor:
        forward, back = bags(batch)
        return heads.softmax(forward / temperature, batch.target) + heads.softmax(back / temperature, batch.target)

    def agree(batch: Batch, temperature: Tensor) -> Tensor:
        forward, back = bags(batch)
        return (forward.diagonal() - back.diagonal()).square().mean()

    return [Term("contrast", 1.0, contrast), Term("agreement", agreement, agree)]


@entry(
    paper="Poulakakis-Daktylidis & Jamali-Rad 2024 (BECLR)",
    topic="softened",
    modalities="2, with an averaged teacher",
    cost="2 B² d",
    minimum="near the teacher's other side, all rows spread",
    needs=("teacher",),
    teacher="ema",
    temperature=2.0,
    learn_temperature=False,
)
def beclr(spread: float = 0.1) -> list[Term]:
    """Pull each row to the averaged teacher's row of the other side, and spread all rows of both sides.

    The clustered memory that widens the paper's batches is a sampler's business, not the loss's.
    """

    def pull(batch: Batch, temperature: Tensor) -> Tensor:
        a, b = batch.names[:2]
        ta, tb = (unit(batch.taught(m, "recipe beclr"), dim=1) for m in (a, b))
        return -((batch.unit(a) * tb).sum(1) + (batch.unit(b) * ta).sum(1)).mean() / 2

    def push(batch: Batch, temperature: Tensor) -> Tensor:
        z = torch.cat([batch.unit(m) for m in batch.names[:2]])
        n = len(batch)
        item = torch.arange(n, device=z.device).repeat(2)
        s = (z @ z.T / temperature).masked_fill(item[:, None] == item[None], -torch.inf)
        return s.logsumexp(1).logsumexp(0) - math.log(2 * n) - math.log(max(2 * n - 2, 1))

    return [Term("pull", 1.0, pull), Term("spread", spread, push)]


def prototype(
    x: Tensor, centres: Tensor, teacher_centres: Tensor, label: Tensor, temperature: Tensor | float, soft: float
) -> Tensor:
    """Rows classified into the other modality's clusters: x (B, d), centres (K, d), the teacher's centres (K, d')."""
    target = (teacher_centres[label] @ teacher_centres.T / soft).softmax(1)
    return heads.soft(x @ centres.T / temperature, target)


class Prototypes(nn.Module):
    """Remembers the last rows of each modality, clusters them now and then, and classifies rows across."""

    seen: Tensor
    ready: Tensor

    def __init__(self, dims: dict[str, int], clusters: int, memory: int, every: int, soft: float) -> None:
        super().__init__()
        self.clusters, self.every, self.soft = clusters, every, soft
        for m, d in dims.items():
            self.register_buffer(f"rows_{m}", torch.zeros(memory, d))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        for m, d in dims.items():
            self.register_buffer(f"centres_{m}", torch.zeros(clusters, d))  # of the modality's own clusters
            for other in dims:
                self.register_buffer(f"back_{m}_{other}", torch.zeros(clusters, d))  # means by the other's clusters
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))

    def after_step(self, batch: Batch) -> None:
        """Move the prototypes towards the rows of the batch."""
        whole = batch.only(*batch.names)
        memory, n = len(self.get_buffer(f"rows_{batch.anchor}")), len(whole)
        at = (int(self.seen) + torch.arange(n)) % memory
        for m in batch.names:
            self.get_buffer(f"rows_{m}")[at] = whole.unit(m).detach().to(self.get_buffer(f"rows_{m}"))
        before = int(self.seen)
        self.seen += n
        if int(self.seen) >= memory and before // (self.every * n or 1) != int(self.seen) // (self.every * n or 1):
            self._cluster(batch.names)

    def _cluster(self, names: tuple[str, ...]) -> None:
        labels = {}
        for m in names:
            centres, labels[m] = kmeans(self.get_buffer(f"rows_{m}"), self.clusters)
            self.get_buffer(f"centres_{m}").copy_(centres)
        for m in names:
            rows = self.get_buffer(f"rows_{m}")
            for other in names:
                count = torch.bincount(labels[other], minlength=self.clusters).clamp_min(1)
                total = rows.new_zeros(self.clusters, rows.shape[1]).index_add(0, labels[other], rows)
                self.get_buffer(f"back_{m}_{other}").copy_(total / count[:, None])
        self.ready.fill_(True)

    def forward(self, batch: Batch, temperature: Tensor) -> Tensor:
        if not bool(self.ready):
            return nothing(batch.unit(batch.anchor))
        losses = []
        for a, b in batch.pairs:
            part = batch.only(a, b)
            for m, other in ((a, b), (b, a)):
                if len(part):
                    theirs = self.get_buffer(f"centres_{other}").to(part.unit(m))
                    label = (part.unit(other).detach() @ theirs.T).argmax(1)
                    own = self.get_buffer(f"back_{m}_{other}").to(part.unit(m))
                    losses.append(prototype(part.unit(m), own, theirs, label, temperature, self.soft))
        return torch.stack(losses).mean() if losses else nothing(batch.unit(batch.anchor))


def kmeans(x: Tensor, k: int, iterations: int = 20) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from rows far apart: (n, d) → centres (k, d), label (n,). The same rows, the same answer."""
    centres = x[:1]
    for _ in range(k - 1):
        far = torch.cdist(x, centres).min(1).values.argmax()
        centres = torch.cat([centres, x[far : far + 1]])
    label = torch.cdist(x, centres).argmin(1)
    for _ in range(iterations):
        count = torch.bincount(label, minlength=k)
        total = torch.zeros_like(centres).index_add(0, label, x)
        centres = torch.where(count[:, None] > 0, total / count.clamp_min(1)[:, None], centres)
        new = torch.cdist(x, centres).argmin(1)
        if torch.equal(new, label):
            break
        label = new
    return centres, label


@entry(
    paper="Chen et al. 2022 (ProtoCLIP)",
    topic="softened",
    modalities="2 or more",
    cost="B² d and 2 B K d for each pair",
    minimum="perfect alignment; rows near the other modality's clusters, in their own space",
)
def protoclip(
    dims: dict[str, int], clusters: int = 20, memory: int = 1024, every: int = 10, soft: float = 0.01
) -> list[Term]:
    """InfoNCE, and each modality classified into the other's clusters, as these look in its own space.

    Clusters come from a memory of recent rows, made anew every so many steps, where the paper runs an episode over
    200,000 samples with 20,000 clusters; until the memory is full the loss is InfoNCE alone. Projection heads are left
    to the towers.
    """

    return [Term("contrast", 1.0, clip), Term("prototypes", 1.0, Prototypes(dims, clusters, memory, every, soft))]
