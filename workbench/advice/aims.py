"""Aims: the number that training is for, of items that were not trained on; those of treatments, and two more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from workbench.diagnostics.neighbours import hubness
from workbench.diagnostics.retrieval import recall_at_1
from workbench.diagnostics.subsamples import averages, bare
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.fused import PLUS
from workbench.treatments import GOALS
from workbench.treatments.base import CLASSES, MIXED, RETRIEVAL, untreated
from workbench.treatments.goals import Parts
from workbench.treatments.treat import SEEN

Judge = Callable[[EmbeddingSet, EmbeddingSet, str], float]  # trained on, not trained on, column of classes
MOVED = (*SEEN, hubness.__name__)  # what training may do beside: gap, uniformity, rank, hubs


@dataclass(frozen=True)
class Aim:
    """What somebody wants of training: a number of items that it did not see, more being better."""

    name: str
    unit: str
    says: str
    judge: Judge
    modalities: int = 2  # that it takes at least
    label: bool = False


def by_goal(name: str) -> Aim:
    """The goal of a treatment as what to train for: the same number, of the space as it is."""
    goal = GOALS[name]

    def judge(trained: EmbeddingSet, other: EmbeddingSet, label: str) -> float:
        return goal.judge(untreated(other), Parts(trained, other, label)).mean(goal.measure)

    return Aim(goal.name, goal.unit, goal.says, judge, label=name == CLASSES)


def composed(trained: EmbeddingSet, other: EmbeddingSet, label: str) -> float:
    """R@1 of two modalities that together ask for a third, the mean over all ways."""
    found = bare(other, (recall_at_1.__name__,))
    return float(np.mean([v for (_, scope), v in found.items() if PLUS in scope[0]]))


@torch.no_grad()
def with_missing(trained: EmbeddingSet, other: EmbeddingSet, label: str) -> float:
    """R@1 where each modality asks for items kept as the mean of the others, of which every second row is missing."""
    names, hits = other.modalities, []
    for asking in names:
        rest = [m for m in names if m != asking]
        draw = torch.Generator().manual_seed(len(other))
        has = torch.rand(len(other), len(rest), generator=draw) < 0.5
        has[torch.arange(len(other)), torch.randint(len(rest), (len(other),), generator=draw)] = True
        kept = torch.stack([other.unit(m) for m in rest], 1)
        gallery = torch.nn.functional.normalize((kept * has[..., None]).sum(1), dim=1)
        scores = other.unit(asking) @ gallery.T
        own = scores.diagonal()[:, None]
        above, tied = (scores > own + 1e-6).sum(1), ((scores - own).abs() <= 1e-6).sum(1)
        hits.append(float(((above == 0) / tied).mean()))
    return float(np.mean(hits))


AIMS = {a.name: a for a in map(by_goal, (RETRIEVAL, MIXED, CLASSES))} | {
    a.name: a
    for a in (
        Aim("compose", "R@1", "two modalities together ask for a third", composed, modalities=3),
        Aim("missing", "R@1", "each asks for items of which every second row is missing", with_missing, modalities=3),
    )
}


def beside(es: EmbeddingSet) -> dict[str, float]:
    """Gap, uniformity, effective rank and hubness of a space, each a mean over modalities or pairs."""
    return averages(es, MOVED)
