"""Treatments of the space: one map a modality, the same for what is stored and what is asked."""

from __future__ import annotations

import torch

from workbench import interventions
from workbench.errors import InputError
from workbench.sets.embeddings import EmbeddingSet
from workbench.treatments.base import CLASSES, MIXED, RETRIEVAL, SPACE, Making, method

EVERYWHERE = (RETRIEVAL, MIXED, CLASSES)


def _as(change: interventions.Intervention, es: EmbeddingSet) -> Making:
    """An intervention as it is shipped."""
    fitted = change.fit(es)
    making = Making.of(es.modalities)
    for m, to in fitted.maps.items():
        weight = {} if to.weight is None else {"weight": to.weight}
        if to.weight is not None and to.weight.shape[0] == to.weight.shape[1]:
            diagonal = to.weight.diagonal()
            if torch.equal(to.weight, torch.diag(diagonal)):
                weight = {"weight": diagonal}  # a product a dimension instead of one of matrices
        after = {} if isinstance(to.after, float) else {"after": to.after}
        making.step(m, "affine", before=to.before, **weight, **after)
    return making


@method(SPACE, EVERYWHERE)
def centre(es: EmbeddingSet) -> Making:
    """Take the mean of each modality away (for one index of all: Li et al. 2025, GR-CLIP)."""
    return _as(interventions.centre(), es)


@method(SPACE, EVERYWHERE, two=True)
def shift(es: EmbeddingSet) -> Making:
    """Move both modalities halfway along their gap, which closes it (Liang et al. 2022)."""
    return _as(interventions.shift(), es)


@method(SPACE, EVERYWHERE, grid=[{"components": k} for k in (1, 2, 4, 8)])
def remove_top(es: EmbeddingSet, components: int) -> Making:
    """Centre, and take the leading principal directions away (all-but-the-top, Mu et al. 2018)."""
    return _as(interventions.remove_top(components=components), es)


@method(SPACE, EVERYWHERE)
def standardise(es: EmbeddingSet) -> Making:
    """Centre, and give every dimension variance one."""
    return _as(interventions.standardise(), es)


@method(SPACE, EVERYWHERE, grid=[{"shrink": s} for s in (0.1, 0.3, 0.6, 0.9)])
def whiten(es: EmbeddingSet, shrink: float) -> Making:
    """Centre, and make the covariance the identity, shrunk (Ledoit & Wolf 2004)."""
    return _as(interventions.whiten(shrink=shrink), es)


@method(SPACE, EVERYWHERE, two=True)
def procrustes(es: EmbeddingSet) -> Making:
    """Centre both, and turn the second modality onto the first by matched rows (Schönemann 1966)."""
    return _as(interventions.procrustes(), es)


@method(SPACE, EVERYWHERE, grid=[{"components": k} for k in (8, 32, 128)], two=True, bridges=True)
def cca(es: EmbeddingSet, components: int) -> Making:
    """Project both on the directions in which matched rows correlate most (Hotelling 1936)."""
    return _as(interventions.cca(components=components), es)


@method(SPACE, EVERYWHERE, grid=[{"penalty": p} for p in (0.1, 1.0, 10.0)], two=True, bridges=True)
def ridge(es: EmbeddingSet, penalty: float) -> Making:
    """Map the second modality onto the first by penalised least squares (Hoerl & Kennard 1970)."""
    return _as(interventions.ridge(penalty=penalty), es)


HIDDEN, BATCH, STEPS, LOOK, PATIENCE = 128, 256, 400, 20, 3  # looks without a gain before it stops
RATE, DECAY, TEMPERATURE = 1e-3, 1e-2, 0.05
LEAST = 64  # pairs: below, there is nothing to train on


@method(SPACE, (RETRIEVAL, MIXED), two=True)
def adapter(es: EmbeddingSet) -> Making:
    """Add a small trained network to both, x + relu(xA + a)B, by InfoNCE on train pairs (Houlsby et al. 2019).

    A fifth of the families is kept aside, and training stops where the loss on these was least.
    """
    a, b = es.modalities
    x, y = interventions.matched(es, a, b)
    if len(x) < LEAST:
        raise InputError(f"the adapter needs {LEAST} train pairs, and there are {len(x)}")
    aside = _fifth(es, a, b)
    if bool(aside.all()) or not bool(aside.any()):
        raise InputError("the adapter needs several families: a fifth of them is kept aside")
    pairs = [z.float() for z in (x, y)]
    draw = torch.Generator().manual_seed(0)
    nets = [_net(z.shape[1], draw) for z in pairs]
    weights = [w.requires_grad_() for net in nets for w in net]
    optimiser = torch.optim.AdamW(weights, lr=RATE, weight_decay=DECAY)
    best, last, kept = float("inf"), 0, [w.detach().clone() for w in weights]
    train = (~aside).nonzero()[:, 0]
    for step in range(STEPS + 1):
        if step % LOOK == 0:
            with torch.no_grad():
                loss = float(_loss(pairs, nets, aside.nonzero()[:, 0][: 4 * BATCH]))
            if loss < best:
                best, last, kept = loss, step, [w.detach().clone() for w in weights]
            elif step - last >= PATIENCE * LOOK:
                break
        at = train[torch.randperm(len(train), generator=draw)[:BATCH]]
        optimiser.zero_grad()
        _loss(pairs, nets, at).backward()
        optimiser.step()
    making = Making.of(es.modalities)
    for m, (into, offset, back) in zip((a, b), (kept[:3], kept[3:]), strict=True):
        making.step(m, "residual", into=into, plus=offset, back=back)
    return making


def _fifth(es: EmbeddingSet, a: str, b: str) -> torch.Tensor:
    """Which of the matched items are kept aside: whole families."""
    has = es.layout.has
    return torch.from_numpy(es.families)[(has[a] & has[b])] % 5 == 0


def _net(width: int, draw: torch.Generator) -> list[torch.Tensor]:
    into = torch.randn(width, HIDDEN, generator=draw) / width**0.5
    return [into, torch.zeros(HIDDEN), torch.zeros(HIDDEN, width)]


def _loss(pairs: list[torch.Tensor], nets: list[list[torch.Tensor]], at: torch.Tensor) -> torch.Tensor:
    changed = []
    for z, (into, offset, back) in zip(pairs, nets, strict=True):
        u = z[at]
        changed.append(torch.nn.functional.normalize(u + torch.relu(u @ into + offset) @ back, dim=1))
    logits = changed[0] @ changed[1].T / TEMPERATURE
    own = torch.arange(len(at))
    both = torch.nn.functional.cross_entropy(logits, own), torch.nn.functional.cross_entropy(logits.T, own)
    return (both[0] + both[1]) / 2
