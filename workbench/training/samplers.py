"""Samplers: which items make up the batch of a step, known from seed and step alone, so that resuming is exact."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from workbench.errors import InputError
from workbench.sets.run_folder import VERDICTS, WRONG

Sampler = Callable[[int], Tensor]


def generator(seed: int, turn: int) -> torch.Generator:
    """A generator for one turn (epoch or step) of a seed, the same after a resume."""
    return torch.Generator().manual_seed(seed * 1_000_003 + turn)


def shuffle(count: int, batch: int, seed: int) -> Sampler:
    """A fresh order every epoch; what does not fill a batch waits for the next epoch."""

    def index(step: int) -> Tensor:
        epoch, within = divmod(max(step - 1, 0), count // batch)
        order = torch.randperm(count, generator=generator(seed, epoch))
        return order[within * batch : (within + 1) * batch]

    return index


def balanced(label: Tensor, batch: int, seed: int) -> Sampler:
    """Classes equally often, items of a class at random; items without a label (−1) are left out."""
    has = (label >= 0).nonzero()[:, 0]
    weight = 1 / torch.bincount(label[has]).double()[label[has]]

    def index(step: int) -> Tensor:
        drawn = torch.multinomial(weight, min(batch, len(has)), generator=generator(seed, step))
        return has[drawn]

    return index


def hard(features: Callable[[], Tensor], count: int, batch: int, seed: int) -> Sampler:
    """Batches of neighbours: a random item, its nearest, the next random item, its nearest …

    `features()` (N, d) are the anchor's rows as frozen features; they are looked at once. Neighbours in a batch are the
    hardest non-matches that a contrast can meet - and, where they are the same thing, false negatives.
    """
    unit = torch.nn.functional.normalize(features().double(), dim=1)
    group = 8

    def index(step: int) -> Tensor:
        starts = torch.randperm(count, generator=generator(seed, step))
        taken = torch.zeros(count, dtype=torch.bool)
        out: list[Tensor] = []
        held = 0
        for start in starts.tolist():
            if held >= batch:
                break
            if taken[start]:
                continue
            near = (unit @ unit[start]).masked_fill(taken, -2.0).topk(min(group, count)).indices
            near = near[~taken[near]][: batch - held]
            taken[near] = True
            out.append(near)
            held += len(near)
        return torch.cat(out)

    return index


def judged(inner: Sampler, pairs: pd.DataFrame, ids: pd.Series) -> Sampler:
    """A sampler that heeds what people said of pairs of items.

    A `false negative` or `duplicate` is no non-match: of two such items the second leaves the batch.
    A `wrong` match is a hard negative: the item that was taken for the match is put into the batch of its query, in the
    place of an item that nothing was said of.
    """
    place = pd.Series(range(len(ids)), index=ids.astype(str))
    known = pairs[pairs["id"].isin(place.index) & pairs["other"].isin(place.index)]
    if not len(known):
        raise InputError(
            f"train.pairs: none of its {len(pairs)} pairs is among the training items; judge pairs of those: serve the "
            "set itself, not a run's probe"
        )
    apart: dict[int, set[int]] = {}
    against: dict[int, set[int]] = {}
    for r in known.to_dict("records"):
        i, j = int(place[r["id"]]), int(place[r["other"]])
        table = against if r["verdict"] == WRONG else apart
        table.setdefault(i, set()).add(j)
        table.setdefault(j, set()).add(i)

    def index(step: int) -> Tensor:
        batch = inner(step).tolist()
        wanted = {j for i in batch for j in against.get(i, ())} - set(batch)
        free = [k for k, i in enumerate(batch) if i not in against and i not in apart]
        for k, j in zip(reversed(free), sorted(wanted), strict=False):
            batch[k] = j
        kept: list[int] = []
        for i in batch:
            if not apart.get(i, set()) & set(kept):
                kept.append(i)
        return torch.tensor(kept)

    return index


def read_pairs(file: str) -> pd.DataFrame:
    """A list of judged pairs: columns id, other, verdict."""
    try:
        found = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as e:
        raise InputError(f"train.pairs={file}: not readable as CSV ({str(e).splitlines()[0]})") from None
    lacks = {"id", "other", "verdict"} - set(found)
    strange = set(found.get("verdict", [])) - set(VERDICTS)
    if lacks or strange:
        raise InputError(
            f"train.pairs={file}: needs columns id, other and verdict ({', '.join(VERDICTS)}), "
            f"not {', '.join(sorted(lacks or strange))}"
        )
    return found


def dropped(index: Tensor, modalities: tuple[str, ...], share: float, seed: int, step: int) -> dict[str, Tensor]:
    """Which rows of a batch are there, {name: (B,) bool}: every modality but the first is left out now and then."""
    g = generator(seed + 17, step)
    return {m: torch.rand(len(index), generator=g) >= share for m in modalities[1:]}
