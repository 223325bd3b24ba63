"""The real sets that travel with the package, typed and with their licences."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.errors import InputError, unknown
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.formats.load import as_set, load

ATTRIBUTION = (
    "Drawings: OpenMoji (openmoji.org), CC BY-SA 4.0, rasterised to 72×72 px. "
    "Names: emojibase-data (MIT), from Unicode CLDR (Unicode License v3)."
)
CAVEAT = (
    "Colour drawing and line sketch share one image encoder and nearly the same outlines: the gap between them is no "
    "realistic modality gap. Text against drawing is."
)


def folder() -> Path:
    """Where the shipped data lie: inside an installed wheel, or data/ of a checkout."""
    package = Path(__file__).parent.parent
    for place in (package / "data", package.parent / "data"):
        if place.is_dir():
            return place
    raise InputError(f"no data folder beside {package}; install workbench again")


def emoji() -> EmbeddingSet:
    """1,544 concepts: `color`, `sketch`, `text`, `text_de` as frozen features, drawings and names as columns.

    `color` and `sketch` are EfficientNet-Lite0 features (1280-d), `text` (English name + tags) and `text_de` (German
    name) multilingual Universal Sentence Encoder vectors (512-d), all float16. Split by family, so that the man, the
    woman and the person of one concept fall on the same side. Licence: CC BY-SA 4.0, see `data/README.md`.
    """
    drawn = dict.fromkeys(("color", "sketch"), "efficientnet_lite0")
    return load(folder() / "emoji.parquet").made_by({"text": "use", "text_de": "use", **drawn})


DATASETS = {"emoji": emoji}
SPLIT = {"train": 0.7, "validation": 0.15, "test": 0.15}


def dataset(name: str) -> EmbeddingSet:
    """A shipped set by name.

    >>> len(dataset("emoji"))
    1544
    """
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    return DATASETS[name]()


def split_of(key: str, shares: Mapping[str, float]) -> str:
    """The split of a family, by a hash of its name: the same on every machine and after every rebuild."""
    u = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    for name, share in shares.items():
        u -= share
        if u < 0:
            return name
    return name


def load_data(data: Any) -> EmbeddingSet:
    """A shipped set by name, or whatever a path or a mapping holds."""
    if isinstance(data, str) and data in DATASETS and not Path(data).exists():
        return dataset(data)
    return as_set(data)


def with_splits(es: EmbeddingSet) -> EmbeddingSet:
    """The set as it is if it has splits, else with 70/15/15 by family, the same on every machine."""
    if "split" in es.items:
        return es
    keys = es.items["family"] if "family" in es.items else es.items["id"]
    items = es.items.assign(split=[split_of(str(k), SPLIT) for k in keys])
    return es.with_items(items)
