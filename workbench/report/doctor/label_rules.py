"""Rules over labels that the vectors contradict, or that hardly tell anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from workbench.report.doctor.class_rules import Classing, classings
from workbench.report.doctor.rules import Fault, Said, evidence, least, set_rule
from workbench.report.doctor.specimen import Specimen
from workbench.report.finding import INFO, WARNING
from workbench.sets import planted_columns

LEAST_LABELLED = 60  # items with a label
APART = 1.33  # mean over deviation of how sure the guesses are, of classes that run into each other …
SPREAD = 2.7  # … and by how much that scatters, over the root of the count of families
AGREED = 0.5  # share of the items of which every modality alone guesses what all do together
MISLABELLED = 0.12  # share of the items, by the lower end of its 99.8 % interval
RIDGE = 0.3  # of the mean eigenvalue
ONE_CLASS = 0.9  # share of the labelled items


@dataclass(frozen=True)
class Guesses:
    """The class that each item's vectors stand for, from classifiers taught on the other half of the families.

    `items` (n,), `given` and `guessed` (n,), codes; `sure` (n,), by how much the guess leads; `alike` (n,), whether
    every modality guesses that alone.
    """

    items: Tensor
    given: Tensor
    guessed: Tensor
    sure: Tensor
    alike: Tensor


def _scores(x: Tensor, code: Tensor, classes: int, half: Tensor) -> Tensor:
    """How much each row looks like each class, (n, classes): ridge regression fitted on the other half."""
    scores = torch.zeros(len(x), classes, dtype=torch.float64)
    for f in (0, 1):
        taught, judged = half != f, half == f
        y = one_hot(code[taught], classes).double()
        centre = x[taught].mean(0)
        c = x[taught] - centre
        scatter = c.T @ c
        scatter.diagonal().add_(RIDGE * float(scatter.diagonal().mean()) + 1e-12)
        scores[judged] = (x[judged] - centre) @ torch.linalg.solve(scatter, c.T @ (y - y.mean(0)))
    return scores / scores.std().clamp_min(1e-300)


def guesses(specimen: Specimen, classing: Classing) -> Guesses | None:
    """What the vectors of all modalities together take each item for; nothing where too few items can be asked."""
    items = specimen.items(*specimen.es.modalities)
    items = items[classing.code[items] >= 0]
    half = torch.from_numpy(specimen.es.halves)[items]
    if len(items) < LEAST_LABELLED or int(torch.bincount(half, minlength=2).min()) < LEAST_LABELLED // 3:
        return None
    given, k = classing.code[items], len(classing.names)
    each = [_scores(specimen.unit(m, items), given, k, half) for m in specimen.es.modalities]
    top = torch.stack(each).mean(0).topk(2, dim=1)
    guessed = top.indices[:, 0]
    alike = torch.stack([s.argmax(1) == guessed for s in each]).all(0)
    return Guesses(items, given, guessed, top.values[:, 0] - top.values[:, 1], alike)


@set_rule(
    "label_noise",
    WARNING,
    fault=Fault("{:.0%} of labels are another class's", planted_columns.mislabelled, (0.1, 0.2, 0.3)),
)
def label_noise(specimen: Specimen) -> Iterable[Said]:
    """Labels that the vectors contradict: items that stand among those of another class, in every modality. Quiet
    unless classes stand apart from each other, with few items between them."""
    for classing in classings(specimen):
        g = guesses(specimen, classing)
        if g is None or float(g.alike.double().mean()) < AGREED:
            continue
        families = len(torch.unique(specimen.family[g.items]))
        if float(g.sure.mean()) < (APART + SPREAD / families**0.5) * float(g.sure.std()):
            continue
        # where classes run into each other it is the unsure guesses that go wrong; labels go wrong anywhere
        sure = g.alike & (g.sure >= g.sure.median())
        wrong = sure & (g.guessed != g.given)
        n, k = int(sure.sum()), int(wrong.sum())
        low = least(k, n, 1e-3)
        if low < MISLABELLED:
            continue
        at = wrong.nonzero()[:, 0]
        at = at[g.sure[at].argsort(descending=True)]
        ids = specimen.named(g.items[at])
        said, seen = (classing.names[int(codes[at[0]])] for codes in (g.given, g.guessed))
        yield (
            f"About {k / n:.0%} of the labels in '{classing.column}' are wrong (at least {low:.0%}): these items lie "
            f"inside another class in every modality. First: {ids[0]}, labelled {said}, lies in {seen}.",
            [evidence(f"share of labels contradicted, {classing.column}", specimen.es.modalities, k / n, MISLABELLED,
                      items=ids, low=low)],
            "check the labels of these items (the evidence names them); scores by "
            f"'{classing.column}' use wrong labels",
        )  # fmt: skip


@set_rule("one_class", INFO)
def one_class(specimen: Specimen) -> Iterable[Said]:
    """A label that nearly all items share: whoever guesses it is right, and accuracies by it say little."""
    if specimen.label is None or not bool((specimen.label >= 0).any()):
        return
    counts = torch.bincount(specimen.label[specimen.label >= 0])
    share = float(counts.max()) / float(counts.sum())
    if share >= ONE_CLASS and int((counts > 0).sum()) > 1:
        column = specimen.report.about["label"]
        yield (
            f"{share:.0%} of the items have the same '{column}': a guess is right that often, and an accuracy by it "
            "says little.",
            [evidence(f"share of the largest class of {column}", specimen.es.modalities, share, ONE_CLASS)],
            "read the scores of each class (by_class), or sample the same number of items of each",
        )
