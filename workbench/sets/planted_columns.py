"""Faults of columns and classes, planted into something healthy: a label, a split, a family that is not as it seems."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize as unit

from workbench.sets.changed import changed, drawn
from workbench.sets.embeddings import EmbeddingSet

KIND = "kind"  # the column that says the class


def classed(es: EmbeddingSet, classes: int = 4, *, seed: int = 0) -> EmbeddingSet:
    """The same set with a column of so many classes, dealt to families by lot."""
    of_family = np.random.default_rng(seed).integers(classes, size=int(es.families.max()) + 1)
    kinds = np.array([f"k{c}" for c in range(classes)])[of_family[es.families]]
    return changed(es, items=es.items.assign(**{KIND: kinds}))


def _direction(es: EmbeddingSet, modality: str, classes: int, seed: int) -> Tensor:
    """For each row of a modality the direction of its class; those of two classes are at right angles."""
    code = np.unique(es.items[KIND].to_numpy(), return_inverse=True)[1][es.item_of_row(modality).numpy()]
    axes = torch.linalg.qr(drawn(seed + 3, es[modality].shape[1], classes)).Q.T
    return axes[torch.from_numpy(code)]


def _first(es: EmbeddingSet, modality: str) -> Tensor:
    """The place of the first row of each item."""
    return es.first_row(modality, torch.arange(len(es)))


def shaped(es: EmbeddingSet, modality: str, strength: float, classes: int = 2, *, seed: int = 0) -> EmbeddingSet:
    """A column that moves the rows of one modality along a direction a class, by so many lengths of a row."""
    made = classed(es, classes, seed=seed)
    x = es.unit(modality)
    return changed(made, {modality: unit(x + strength * _direction(made, modality, classes, seed), dim=1)})


def absent(es: EmbeddingSet, modality: str, share: float, *, seed: int = 0) -> EmbeddingSet:
    """A modality that a share of the items of one class of four lacks, and hardly any other."""
    made = classed(es, seed=seed)
    first = (made.items[KIND] == "k0").to_numpy()
    gone = np.random.default_rng(seed).random(len(es)) < np.where(first, share, 0.02)
    keep = ~gone[es.item_of_row(modality).numpy()]
    kept = torch.from_numpy(keep)
    return changed(made, {modality: es[modality][kept]}, {modality: es.item_of_row(modality)[kept]})


def one_point(es: EmbeddingSet, modality: str, strength: float, *, seed: int = 0) -> EmbeddingSet:
    """One class of four pulled to one direction in one modality: 0 changes nothing, 1 makes its rows one."""
    made = classed(es, seed=seed)
    x = es.unit(modality).clone()
    some = torch.from_numpy(np.array(made.items[KIND] == "k0"))[es.item_of_row(modality)]
    x[some] = unit((1 - strength) * x[some] + strength * unit(x[some].mean(0), dim=0), dim=1)
    return changed(made, {modality: x})


def only_classes(es: EmbeddingSet, noise: float, classes: int = 4, *, seed: int = 0) -> EmbeddingSet:
    """Pairs that know their class and nothing else: rows are a class's direction with noise of this length of their
    own."""
    made = classed(es, classes, seed=seed)
    vectors = {}
    for k, m in enumerate(es.modalities):
        x = es.unit(m)
        to = _direction(made, m, classes, seed)
        own = unit(drawn(seed + 20 + k, *x.shape), dim=1)
        vectors[m] = unit(to + noise * own + 0.02 * x, dim=1)
    return changed(made, vectors)


def leaked(es: EmbeddingSet, share: float, *, seed: int = 0) -> EmbeddingSet:
    """A third of the families is test; of its items a share stands among those of training, hardly changed."""
    rng = np.random.default_rng(seed)
    test = rng.permutation(int(es.families.max()) + 1)[es.families] % 3 == 0
    held, known = np.flatnonzero(test), np.flatnonzero(~test)
    to, of = known[: round(share * len(held))], held[: round(share * len(held))]
    vectors = {}
    for m in es.modalities:
        x, first = es.unit(m).clone(), _first(es, m)
        moved = x[first[torch.from_numpy(of[: len(to)])]]
        x[first[torch.from_numpy(to)]] = unit(moved + 0.02 * unit(drawn(seed, *moved.shape), dim=1), dim=1)
        vectors[m] = x
    return changed(es, vectors, items=es.items.assign(split=np.where(test, "test", "train")))


def variants(es: EmbeddingSet, share: float, *, seed: int = 0) -> EmbeddingSet:
    """A share of the items are variants of the item before them in every modality, and no family says so."""
    some = np.flatnonzero(np.random.default_rng(seed).random(len(es)) < share)
    some = some[some > 0]
    vectors = {}
    for m in es.modalities:
        x, first = es.unit(m).clone(), _first(es, m)
        for i in some.tolist():
            x[first[i]] = x[first[i - 1]] + 0.02 * unit(drawn(seed + i, x.shape[1]), dim=0)
        vectors[m] = x
    return changed(es, vectors, items=es.items.drop(columns="family", errors="ignore"))


def mislabelled(es: EmbeddingSet, share: float, classes: int = 4, *, seed: int = 0) -> EmbeddingSet:
    """A column whose classes every modality shows, and of which a share of the items bears another class's name."""
    made = classed(es, classes, seed=seed)
    shown = {m: unit(es.unit(m) + _direction(made, m, classes, seed), dim=1) for m in es.modalities}
    rng = np.random.default_rng(seed + 1)
    code = np.unique(made.items[KIND].to_numpy(), return_inverse=True)[1]
    other = (code + rng.integers(1, classes, size=len(es))) % classes
    code = np.where(rng.random(len(es)) < share, other, code)
    return changed(made, shown, items=made.items.assign(**{KIND: [f"k{c}" for c in code]}))
