"""What a text means in the space that is looked at: through the encoder that made the set, and through a run's tower.

A set that `workbench embed` wrote knows the encoder of each modality (`EmbeddingSet.encoders`); a run goes on from
there with the tower that it trained.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from workbench.errors import InputError
from workbench.explorer.inspection import Inspection
from workbench.sets.encoders import Encoder, encoder
from workbench.training import probe

NEAREST = 10  # items of each modality
LONGEST = 1_000  # letters of a text
loaded = lru_cache(maxsize=2)(encoder)


def can_be_asked(inspection: Inspection) -> bool:
    """Whether there may be an encoder or a tower that reads texts; that it is installed is seen when it is asked."""
    return bool(inspection.encoders) or (inspection.run is not None and probe.may_read(inspection.run.config))


def nearest(inspection: Inspection, text: str) -> dict[str, list[tuple[int, float]]]:
    """The items nearest to a text in each modality that shares a space with it, and their cosines, nearest first.

    Raises `InputError` where nothing that made the set can read a text, or its library or weights are missing.
    """
    return inspection.once(("meaning", text), lambda: _nearest(inspection, text))


def items(inspection: Inspection, text: str) -> np.ndarray:
    """Those of all modalities together, (N,) positions ascending."""
    return np.unique([item for found in nearest(inspection, text).values() for item, _ in found])


def _nearest(inspection: Inspection, text: str) -> dict[str, list[tuple[int, float]]]:
    if not text.strip():
        raise InputError("an empty text means nothing; type a word or a sentence")
    if len(text) > LONGEST:
        raise InputError(f"a text of {len(text):,} letters is too long to be looked for; at most {LONGEST:,}")
    found = {}
    for m, vector in placed(inspection, text).items():
        if len(vector) != (width := inspection.es[m].shape[-1]):
            raise InputError(
                f"{inspection.name}: {inspection.encoders[m]} gives {len(vector)} numbers, the rows of {m!r} have "
                f"{width}: it is not what made them"
            )
        cosine = inspection.unit(m) @ torch.nn.functional.normalize(vector.float(), dim=0)
        rows = cosine.topk(min(4 * NEAREST, len(cosine))).indices  # of several rows an item, the nearest is its own
        best: dict[int, float] = {}
        for row, item in zip(rows.tolist(), inspection.es.item_of_row(m)[rows].tolist(), strict=True):
            best.setdefault(item, float(cosine[row]))
        found[m] = list(best.items())[:NEAREST]
    return found


def placed(inspection: Inspection, text: str) -> dict[str, Tensor]:
    """A text as a vector of each modality whose space it has a place in, (d,)."""
    run, encoders = inspection.run, inspection.encoders
    if run is not None:
        for m, name in probe.readers(run.config, encoders, inspection.items.columns).items():
            given = None if name is None else _encoded(name, text)
            if name is None or given is not None:
                z = run.placed(m, text, given)
                return {other: z for other in inspection.es.modalities if inspection.es[other].shape[-1] == len(z)}
        found = {}
    else:
        vectors = {name: _encoded(name, text) for name in dict.fromkeys(encoders.values())}
        found = {m: v for m, name in encoders.items() if (v := vectors[name]) is not None}
    if not found:
        said = ", ".join(f"{m} by {e}" for m, e in encoders.items()) or "no encoder is known"
        raise InputError(
            f"{inspection.name}: nothing that made it reads a text ({said}), so it can be searched by words only"
        )
    return found


def _encoded(name: str, text: str) -> Tensor | None:
    """A text through an encoder, (d,); None where it reads none."""
    made: Encoder = loaded(name)
    return made.of("text")([text])[0] if "text" in made.encode else None
