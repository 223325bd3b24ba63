"""EmbeddingSet: N items × M modalities, checked once on entry, saved as a folder, read memory-mapped."""

from __future__ import annotations

import copy
import hashlib
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workbench.disk import CHECK_ROWS, read_safetensors, whole_folder, write_safetensors
from workbench.errors import InputError, first_line, unknown
from workbench.sets import columns
from workbench.sets.card import set_card
from workbench.sets.checks import check_rows, items_of, some, tensor_of
from workbench.sets.manifest import check_files, check_place, read_manifest, write_manifest


class Layout(NamedTuple):
    """Where a set has rows: what decides which diagnostics apply."""

    items: int
    widths: dict[str, int]  # dimensions of each modality
    rows: dict[str, int]
    has: dict[str, Tensor]  # (N,) whether an item has the modality

    @property
    def modalities(self) -> tuple[str, ...]:
        """The names, in the order of the set."""
        return tuple(self.widths)


class EmbeddingSet:
    r"""N items with vectors in M modalities; the one thing that everything here reads.

    Each modality is a table of rows, (n, d), or (n, L, d) where every row has L layers. `rows[name]` (n,) tells the
    item each row belongs to; without it row i is item i. No row: the modality is missing for that item; several
    rows: several captions, crops or templates. `items` is a frame with one line an item: `id` (unique), `family`
    (items that depend on each other share it; default: the item), `split`, and any labels, texts or media.

    Raises `InputError` on unequal counts, NaN, infinities, zero rows, duplicate ids, or wrong dtypes.

    >>> x = torch.eye(3)
    >>> es = EmbeddingSet({"image": x, "text": x + 0.1})
    >>> len(es), es.modalities, es.unit("text").shape
    (3, ('image', 'text'), torch.Size([3, 3]))
    """

    def __init__(
        self,
        modalities: Mapping[str, Any],
        items: pd.DataFrame | None = None,
        *,
        rows: Mapping[str, Any] | None = None,
        source: str = "the arrays given",
    ) -> None:
        some(modalities, source)
        rows = dict(rows or {})
        for name in rows:
            if name not in modalities:
                raise unknown("modality", name, modalities)
        self.source = source
        self._vectors = {name: tensor_of(name, x, source) for name, x in modalities.items()}
        lengths = {name: len(x) for name, x in self._vectors.items() if name not in rows}
        if items is not None:
            count = len(items)
        elif lengths:
            count = next(iter(lengths.values()))
        else:
            count = 1 + max(int(torch.as_tensor(np.asarray(r)).max()) for r in rows.values())
        for name, n in lengths.items():
            if n != count:
                other = "items has" if items is not None else f"{next(iter(lengths))!r} has"
                raise InputError(
                    f"{source}: modality {name!r} has {n} rows but {other} {count}; row i must be item i: "
                    "keep the rows that both have, or say which item a row belongs to "
                    f"(a column of a table: --item COLUMN; in Python rows={{{name!r}: …}})"
                )
        self.items = items_of(items, count, source)
        self._rows: dict[str, Tensor] = {}
        for name, index in rows.items():
            self._attach(name, torch.as_tensor(np.asarray(index)), count)
        for name, x in self._vectors.items():
            check_rows(name, x, source, self._rows.get(name))
        self._fingerprint: str | None = None
        self.of_layer: int | None = None  # the layer that was taken of a set that has several
        self.encoders: dict[str, str] = {}  # by modality, what `workbench embed --model` made its rows with

    def _attach(self, name: str, index: Tensor, count: int) -> None:
        """Keep rows sorted by item, so that the rows of a span of items are a slice."""
        x = self._vectors[name]
        if index.dtype.is_floating_point or index.ndim != 1 or len(index) != len(x):
            raise InputError(
                f"{self.source}: rows[{name!r}] must be {len(x)} whole numbers, the item of each row of {name!r}"
            )
        index = index.long()
        if len(index) and (int(index.min()) < 0 or int(index.max()) >= count):
            bad = int(((index < 0) | (index >= count)).nonzero()[0])
            raise InputError(
                f"{self.source}: rows[{name!r}] names item {int(index[bad])} at row {bad}, but there are {count} items"
            )
        if bool((index[1:] < index[:-1]).any()):
            order = torch.argsort(index, stable=True)
            index, self._vectors[name] = index[order], x[order]
        if len(index) != count or not torch.equal(index, torch.arange(count)):
            self._rows[name] = index

    # -- looking ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.items)

    def __contains__(self, name: object) -> bool:
        return name in self._vectors

    def __getitem__(self, name: str) -> Tensor:
        """The vectors of a modality as stored: (n, d) or (n, L, d)."""
        if name not in self._vectors:
            raise unknown("modality", name, self._vectors)
        return self._vectors[name]

    def __repr__(self) -> str:
        parts = ", ".join(f"{m} {'×'.join(map(str, x.shape))}" for m, x in self._vectors.items())
        return f"EmbeddingSet({len(self)} items: {parts})"

    def _repr_html_(self) -> str:
        missing = {m: int((~has).sum()) for m, has in self.layout.has.items()}
        kinds = {str(c): str(kind) for c, kind in self.items.dtypes.items()}
        return set_card(self.describe(), kinds, missing)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The names of the modalities, in order."""
        return tuple(self._vectors)

    @property
    def layers(self) -> int:
        """How many layers the rows carry; 0 where they carry none."""
        return max((x.shape[1] for x in self._vectors.values() if x.ndim == 3), default=0)

    def item_of_row(self, name: str) -> Tensor:
        """The item of each row of a modality, (n,), ascending."""
        x = self[name]
        return self._rows[name] if name in self._rows else torch.arange(len(x))

    def first_row(self, name: str, items: Any) -> Tensor:
        """Where the first row of each of these items stands, (n,); they must have one."""
        return torch.searchsorted(self.item_of_row(name), torch.as_tensor(items))

    def aligned(self, name: str) -> bool:
        """True where row i is item i."""
        self[name]
        return name not in self._rows

    def span(self, name: str, start: int, stop: int) -> slice:
        """The rows of a modality that belong to the items start … stop."""
        if name not in self._rows:
            return slice(start, stop)
        low, high = torch.searchsorted(self._rows[name], torch.tensor([start, stop])).tolist()
        return slice(low, high)

    def unit(self, name: str, at: slice | Tensor = slice(None), dtype: torch.dtype = torch.float64) -> Tensor:
        """Rows scaled to length one, (n, d); scaled in float64 before any rounding to `dtype`."""
        x = self[name]
        if x.ndim == 3:
            raise InputError(f"modality {name!r} has {x.shape[1]} layers; choose one with .layer(k)")
        x = x[at].double()
        if self[name].dtype == torch.float64:  # whose squares may leave its range; those of narrower types do not
            x = x / x.abs().amax(1, keepdim=True)
        return torch.nn.functional.normalize(x, dim=1, eps=0.0).to(dtype)

    def column(self, name: str) -> pd.Series:
        """A column of the items; raises `InputError` with the nearest name where there is none."""
        if name not in self.items:
            raise unknown("column of the items", name, self.items.columns)
        return self.items[name]

    @property
    def layout(self) -> Layout:
        """How many rows of which width, and which items have them."""
        whole = torch.ones(len(self), dtype=torch.bool)
        has = {m: torch.bincount(r, minlength=len(self)) > 0 for m, r in self._rows.items()}
        return Layout(
            len(self),
            {m: x.shape[-1] for m, x in self._vectors.items()},
            {m: len(x) for m, x in self._vectors.items()},
            {m: has.get(m, whole) for m in self._vectors},
        )

    @property
    def families(self) -> np.ndarray:
        """A code for the family of each item, (N,): items that depend on each other share it."""
        if "family" not in self.items:
            return np.arange(len(self))
        return columns.groups(self.items["family"])

    @property
    def halves(self) -> np.ndarray:
        """0 or 1 for each item, (N,), by a hash of its family's name: no family is on both sides, in any order."""
        return self.quarters // 2

    @property
    def quarters(self) -> np.ndarray:
        """0 … 3 for each item, (N,): each half cut in two, by more of the same hash."""
        ids = columns.text(self.items["id"])
        names = columns.text(self.items["family"]) if "family" in self.items else ids
        code, name = pd.factorize(np.where(names == "", ids, names))
        hashes = [zlib.crc32(n.encode()) for n in name]
        return np.array([2 * (h >> 3 & 1) + (h >> 13 & 1) for h in hashes], dtype=np.int64)[code]

    # -- parts -----------------------------------------------------------------------------------------------------

    def _part(self, vectors: Mapping[str, Tensor], items: pd.DataFrame, rows: Mapping[str, Tensor]) -> EmbeddingSet:
        """A set of what this one holds, which was checked when it was made: only its shapes can be new."""
        some(vectors, self.source)
        made = EmbeddingSet.__new__(EmbeddingSet)
        made.source, made.items = self.source, items
        made._vectors = {m: tensor_of(m, x, self.source) for m, x in vectors.items()}
        whole = torch.arange(len(items))
        made._rows = {m: r for m, r in rows.items() if len(r) != len(whole) or not torch.equal(r, whole)}
        made._fingerprint, made.of_layer = None, None
        return made._of(self.encoders)

    def take(self, index: Any) -> EmbeddingSet:
        """The set of some items, by position or by a mask, in the order given."""
        index = np.asarray(index)
        if index.dtype == bool:
            index = np.flatnonzero(index)
        index = index.astype(np.int64)
        index = np.where(index < 0, index + len(self), index)
        vectors, rows = {}, {}
        for name, x in self._vectors.items():
            if name not in self._rows:
                vectors[name] = x[torch.from_numpy(index)]
                continue
            spans = [self.span(name, i, i + 1) for i in index.tolist()]
            counts = [s.stop - s.start for s in spans]
            picked = [torch.arange(s.start, s.stop) for s in spans]
            vectors[name] = x[torch.cat(picked)] if picked else x[:0]
            rows[name] = torch.from_numpy(np.repeat(np.arange(len(index)), counts))
        items = self.items.iloc[index].reset_index(drop=True)
        if len(np.unique(index)) < len(index):  # refused: an id would be there twice
            return EmbeddingSet(vectors, items, rows=rows, source=self.source)
        return self._part(vectors, items, rows)

    def split(self, name: str) -> EmbeddingSet:
        """The items of one split: train, validation or test."""
        if "split" not in self.items:
            raise InputError(f"{self.source}: the items have no column 'split'; add one, or use the whole set")
        if not (self.items["split"] == name).any():
            raise unknown("split", name, sorted(self.items["split"].dropna().unique()))
        return self.take((self.items["split"] == name).to_numpy())

    def only(self, names: Sequence[str]) -> EmbeddingSet:
        """The same items with some of the modalities, in the order given."""
        rows = {name: self._rows[name] for name in names if name in self._rows}
        return self._part({name: self[name] for name in names}, self.items.copy(deep=False), rows)

    def with_items(self, items: pd.DataFrame) -> EmbeddingSet:
        """The same vectors with other columns of the same items."""
        if len(items) != len(self):
            raise InputError(f"{self.source}: {len(items)} lines of columns for {len(self)} items")
        return self._part(self._vectors, items_of(items, len(self), self.source), self._rows)

    def made_by(self, encoders: Mapping[str, str]) -> EmbeddingSet:
        """The same set, knowing which encoder made its modalities (`workbench embed --model`), so that a text that
        somebody types can be put beside its rows: `es.made_by({"text": "model2vec/FOLDER"})`.

        Raises `InputError` where a modality is not there.
        """
        for m in encoders:
            self[m]
        return copy.copy(self)._of(self.encoders | dict(encoders))

    def _of(self, encoders: Mapping[str, str]) -> EmbeddingSet:
        self.encoders = {m: str(encoders[m]) for m in self._vectors if m in encoders}
        return self

    def layer(self, k: int | None = None) -> EmbeddingSet:
        """One layer of every modality that has layers, by default the last; a set without layers as it is."""
        if not self.layers:
            if k is not None:
                raise InputError(f"{self.source}: layer={k}, but its rows have no layers")
            return self
        k = self.layers - 1 if k is None else k
        for name, x in self._vectors.items():
            if x.ndim == 3 and not -x.shape[1] <= k < x.shape[1]:
                raise InputError(f"modality {name!r} has layers 0 to {x.shape[1] - 1}, not {k}")
        vectors = {name: x[:, k] if x.ndim == 3 else x for name, x in self._vectors.items()}
        made = EmbeddingSet(vectors, self.items, rows=self._rows, source=self.source)
        made.of_layer = k
        return made

    # -- identity and disk -----------------------------------------------------------------------------------------

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits of the content: vectors, rows and items; the same in memory and on disk."""
        if self._fingerprint is None:
            h = hashlib.blake2b(digest_size=8)
            for name, x in self._vectors.items():
                h.update(f"{name}:{x.dtype}:{tuple(x.shape)};".encode())
                for start in range(0, len(x), CHECK_ROWS):
                    h.update(x[start : start + CHECK_ROWS].contiguous().view(torch.uint8).numpy().data)
                if name in self._rows:
                    h.update(self._rows[name].numpy().data)
            for column in self.items:
                h.update(f"{column};".encode())
                gone = columns.missing(self.items[column])
                for value, absent in zip(self.items[column].tolist(), gone.tolist(), strict=True):
                    raw = b"\0" if absent else value if isinstance(value, bytes) else str(value).encode()
                    h.update(len(raw).to_bytes(8, "little") + raw)
            self._fingerprint = h.hexdigest()
        return self._fingerprint

    def describe(self) -> dict[str, Any]:
        """What a report says of the set it read: source, sizes, identity, pairing, families, splits, layer."""
        splits = self.items["split"].value_counts().to_dict() if "split" in self.items else {}
        return {
            "source": self.source,
            "items": len(self),
            "fingerprint": self.fingerprint,
            "modalities": {
                m: {"rows": len(x), "dimensions": x.shape[-1], "dtype": str(x.dtype)[6:]}
                for m, x in self._vectors.items()
            },
            "pairing": "row table" if self._rows else "row order",
            "families": len(np.unique(self.families)),
            "split": {str(k): int(v) for k, v in splits.items()},
            "layer": self.of_layer,
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the set as a folder; what was there is replaced whole or, after a crash, not at all."""
        path = Path(path).absolute()
        check_place(path)
        with whole_folder(path) as staging:
            tables = {}
            for name, x in self._vectors.items():
                tensors = {"vectors": x.contiguous()}
                if name in self._rows:
                    tensors["rows"] = self._rows[name]
                write_safetensors(staging / f"{name}.safetensors", tensors)
                tables[name] = {"dtype": str(x.dtype).removeprefix("torch."), "shape": list(x.shape)}
            self.items.to_parquet(staging / "items.parquet", index=False)
            about = {"items": len(self), "fingerprint": self.fingerprint, "modalities": tables}
            about |= {"encoders": self.encoders} if self.encoders else {}
            write_manifest(staging, about)
            for file in staging.iterdir():
                with file.open("rb") as f:
                    os.fsync(f.fileno())
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EmbeddingSet:
        """Open a saved set, memory-mapped: vectors are read from disk when they are looked at.

        Below 1 GB its files are compared with the digests of the manifest; `workbench check` does so for any size.
        """
        path = Path(path)
        manifest = read_manifest(path)
        check_files(path, manifest)
        vectors, rows = {}, {}
        for name, table in manifest["modalities"].items():
            tensors = read_safetensors(path / f"{name}.safetensors")
            if "vectors" not in tensors or list(tensors["vectors"].shape) != table["shape"]:
                raise InputError(
                    f"{path / name}.safetensors: not the {table['shape']} vectors of the manifest; write the set again"
                )
            vectors[name] = tensors["vectors"]
            if "rows" in tensors:
                rows[name] = tensors["rows"]
        try:
            items = pd.read_parquet(path / "items.parquet")
        except Exception as e:
            raise InputError(f"{path / 'items.parquet'}: not readable as Parquet ({first_line(e)})") from None
        if len(items) != manifest["items"]:
            raise InputError(f"{path}: items.parquet has {len(items)} rows, the manifest says {manifest['items']}")
        return cls(vectors, items, rows=rows, source=str(path))._of(manifest.get("encoders", {}))
