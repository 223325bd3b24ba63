r"""Rules mined by contrasting failures with successes, and kept only where other items agree, tell new failures better
than all that were mined.

Maths
-----
$$R=\{r: P(r|\text{fail})\neq P(r|\text{hit})\},\quad R'=\{r\in R: \text{the same sign on other families}\},\quad
v(x)=\sum_{r}\pm r(x)$$

Carried by
----------
workbench.report.criteria.mined; workbench.report.criteria.consistent

Deviations
----------
The paper's rules are written and judged by a language model; here they are conditions on an item's columns, and the
filter asks whether they prefer rightly on families that they were not mined on. No code was read.

Data
----
emoji: German names that are the nearest to their English names, or are not, both as frozen features; the columns of
the items

What must move
--------------
share of pairs of a failure and a success, in the test part, that the votes of the rules order rightly

Control
-------
failures and successes dealt at random: the share of both

Positive control
----------------
share of one half, and that of unfiltered rules where every long name is made to fail

At this size
------------
A column with many values gives many rules by chance; with few columns there is little to filter.

Try it
------
workbench papers openrubrics --run --data YOUR_SET
"""

from __future__ import annotations

import numpy as np
import torch

from workbench.papers import contest, measures, own_set, parts
from workbench.papers.catalogue import experiment
from workbench.papers.needs import DataNeeds, has_all
from workbench.papers.paper import Outcome, Trial
from workbench.report.criteria import Criterion, consistent, criteria, mined, votes
from workbench.sets.shipped import split_of


def ordered(rules: list[Criterion], failed: np.ndarray, among: np.ndarray) -> float:
    """Share of pairs of a failure and a success among some items that the votes order rightly, ties half."""
    return measures.auc(torch.from_numpy(votes(rules, len(failed))[among]).float(), torch.from_numpy(failed[among]))


@experiment(moves="answers", min_effect=0.02, own=DataNeeds(2))
def openrubrics(trial: Trial) -> Outcome:
    """All rules against those that a second half of the families agrees with; each takes its 5, 20 or 80 strongest."""
    es, g = trial.data or own_set.shipped("emoji"), trial.generator()
    a, b = es.modalities[:2] if trial.data is not None else ("text", "text_de")
    index, classes = own_set.sample(trial, es, (a, b), "")
    whole = has_all(es, (a, b))[index]
    index, classes = index[whole], classes[whole]
    x, items = own_set.rows_of(es, index, (a, b), classes).x, es.items.iloc[index].reset_index(drop=True)
    family = own_set.family_names(es)[index]
    side, half = parts.sides(trial, family), parts.sides(Trial(trial.seed + 1000), family)
    train, one_space = side == "train", x[a].shape[1] == x[b].shape[1]
    fitted = train & (half == "train") if not one_space else np.zeros(len(items), bool)
    first = np.array([split_of(f"{trial.seed}/half/{f}", {"mined": 0.5, "asked": 0.5}) for f in family]) == "mined"
    halves = train & ~fitted & first, train & ~fitted & ~first
    others = {name: side == name for name in ("validation", "test")}

    told = torch.from_numpy(fitted)
    said = x[a] if one_space else measures.linear(x[a][told], x[b][told], x[a])
    failed = np.zeros(len(items), bool)
    for part in (*halves, *others.values()):
        rows = torch.from_numpy(np.flatnonzero(part))
        scores = parts.unit(said[rows], dim=1) @ x[b][rows].T
        failed[part] = (scores > scores.diagonal()[:, None]).any(1).numpy()
    rules = criteria(items)
    dealt = failed.copy()
    for part in (*halves, *others.values()):
        at = np.flatnonzero(part)
        dealt[at] = failed[at[torch.randperm(len(at), generator=g).numpy()]]
    letters = np.array([len(f) for f in family])
    planted = failed | (letters > np.quantile(letters, 0.8))

    def arm(outcome: np.ndarray, filtered: bool) -> tuple[list[Criterion], int]:
        found = mined(rules, outcome, halves[0])
        found = consistent(found, outcome, halves[1]) if filtered else found
        best, _ = contest.best(
            trial, (5, 20, 80), lambda k: found[: int(k)], lambda r: ordered(r, outcome, others["validation"])
        )
        return best, len(found)

    def both(outcome: np.ndarray) -> tuple[float, float]:
        first, second = (arm(outcome, filtered)[0] for filtered in (False, True))
        return ordered(first, outcome, others["test"]), ordered(second, outcome, others["test"])

    (plain, all_rules), (filtered, kept) = (arm(failed, f) for f in (False, True))
    test = torch.from_numpy(np.flatnonzero(others["test"]))
    return Outcome(
        ordered(plain, failed, others["test"]),
        ordered(filtered, failed, others["test"]),
        control=both(dealt),
        positive=(0.5, both(planted)[0]),
        also={
            "rules": float(all_rules),
            "rules kept": float(kept),
            "share that fails": float(failed[others["test"]].mean()),
        },
        rows={
            "baseline": {a: x[a][test], b: x[b][test]} if one_space else {b: x[b][test]},
            "mechanism": {"said": parts.unit(said[test], dim=1), b: x[b][test]},
        },
        labels=np.where(failed[others["test"]], "failed", "found"),
    )
