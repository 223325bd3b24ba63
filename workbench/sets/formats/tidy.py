"""A table with its vectors as lists of floating numbers, whatever they were, and its other columns plain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workbench.errors import InputError, listed
from workbench.sets.formats import stored, textual
from workbench.sets.formats.columnar import is_list, list_column, vectors
from workbench.sets.formats.guess import SHORT, Column, broken, numbered, says_bits, says_vector, told, verdicts
from workbench.sets.formats.plain import plain
from workbench.sets.formats.quantised import Quantised, beside, shaped
from workbench.sets.formats.source import Table

VIEWS = ("list_view", "large_list_view")  # types of Arrow that are lists in another layout
Convert = Callable[[Any, int], Any]  # a record batch, and the row it begins at, to a column of lists


@dataclass
class Tidy:
    """A table to read, its vector columns with what each was, and lines about those that are none.

    `plain`: the same without its vectors, which are then not converted.
    """

    table: Table
    vectors: dict[str, str]
    said: list[str]
    plain: Table


def tidy(table: Table, asked: tuple[str, ...] = (), bits: tuple[str, ...] = (), **how: bool) -> Tidy:
    """The same table as it is read: columns `asked` for are vectors whatever they look like, else those that do."""
    table = _flattened(table)
    head = _head(table)
    found: dict[str, Column] = {}
    text: set[str] = set()
    for f in table.schema:
        column = head.get(f.name)
        if (seen := _listed(f.name, f.type, column)) is not None:
            found[f.name] = seen
        elif column is not None and _is_text(f.type) and (cells := textual.looks(f.name, _sample(column))) is not None:
            found[f.name] = Column(f.name, "int64" if cells[1] else "float64", cells[0])
            text.add(f.name)
    kept: dict[str, str] = {}
    for f in table.schema:
        if f.name not in head or f.name in found or not (_is_bytes(f.type) or _is_text(f.type)):
            continue
        sample = _sample(head[f.name])
        raw = [c for c in stored.as_bytes(sample) if c is not None]
        if (f.name in bits or says_bits(f.name)) and raw and len({len(c) for c in raw}) == 1:
            kept[f.name] = "base64" if _is_text(f.type) else "bytes"
            found[f.name] = Column(f.name, "uint8", len(raw[0]))
            continue
        if len(raw) == len(sample) and (held := stored.looks(raw)) is not None:
            kept[f.name] = "base64" if _is_text(f.type) else "bytes"
            found[f.name] = Column(f.name, *held)
    numbers = {f.name: _number(f, head) for f in table.schema if f.name not in found} if head else {}
    groups = numbered(numbers)
    found |= {name: Column(name, "float32", len(parts)) for name, parts in groups.items()}
    for name in asked:
        field = table.schema.field(name) if name in table.schema.names else None
        if field is not None and _is_text(field.type):
            text.add(name)
            found.setdefault(name, Column(name, "float64", 0))
        if name not in found:
            there = [n for n, v in verdicts(list(found.values()), **how).items() if v.take]
            raise InputError(
                f"{table.source}: no vectors named {name!r}; there are {listed(there) if there else 'none'}"
            )
    order = {n: k for k, n in enumerate(table.schema.names)}
    found = dict(sorted(found.items(), key=lambda each: order.get((groups.get(each[0]) or each)[0], 0)))
    judged = verdicts(list(found.values()), **how)
    numeric = [f.name for f in table.schema if _is_number(f.type)]
    by = {n: q for n, c in found.items() if not c.floating and not c.nested and (q := beside(n, numeric))}
    chosen = list(asked) or [
        n for n, v in judged.items() if v.take or n in bits or (n in by and found[n].width >= SHORT)
    ]
    if not chosen and how.get("alone", True):
        raise InputError(_none(table, found))
    said = [told(n, v) for n, v in judged.items() if not v.take and n not in chosen] + broken(numbers, groups)
    said += [f"{f.name} is a column: bytes of which it is not known what numbers they are" for f in table.schema
             if _is_bytes(f.type) and says_vector(f.name) and f.name not in found]  # fmt: skip
    gone = {n for n, v in judged.items() if not v.keep and n not in chosen}
    gone |= {part for name in chosen for part in groups.get(name, ())}
    converts: dict[str, Convert] = {}
    was: dict[str, str] = {}
    for name in chosen:
        c = found[name]
        packed = name in bits or (says_bits(name) and c.kind in ("uint8", "int8"))
        if packed and c.kind not in ("uint8", "int8"):
            raise InputError(f"{table.source}: column {name!r} holds {c.kind}; packed bits are bytes (uint8)")
        if name in kept and packed:
            converts[name] = _of_packed(table, c)
            was[name] = f"{kept[name]} of packed bits, {8 * c.width} dimensions of +1 and -1"
            continue
        if name in kept:
            converts[name], was[name] = _of_bytes(table, c), f"{kept[name]} of {c.kind}, {c.width} numbers a row"
            continue
        if name in by and not (packed or name in text or name in groups):
            converts[name] = _of_quantised(table, c, by[name])
            was[name] = f"{c.kind}, {c.width} numbers a row, {by[name]}"
            continue
        converts[name] = _converter(table, c, name in text, groups.get(name), packed)
        was[name] = _was(c, name in text, name in groups, packed)
    return Tidy(_made(table, converts, gone), was, said, _made(table, {}, gone | {*chosen}))


def _flattened(table: Table) -> Table:
    """Fields of a struct as columns, where some are lists: vector.image and vector.text, as Qdrant writes them; and
    views of lists as lists."""
    import pyarrow as pa

    def vectors_in(kind: Any) -> bool:
        return pa.types.is_struct(kind) and any(
            is_list(x.type) and pa.types.is_floating(x.type.value_type) for x in kind
        )

    nested = [f.name for f in table.schema if vectors_in(f.type)]
    viewed = {f.name: pa.large_list(f.type.value_type) for f in table.schema if str(f.type).startswith(VIEWS)}
    if not nested and not viewed:
        return table

    def flat(batch: Any) -> Any:
        columns, names = [], []
        for f in batch.schema:
            column = batch.column(f.name)
            if f.name in nested:
                names += [f"{f.name}.{x.name}" for x in f.type]
                columns += column.flatten()
            else:
                names.append(f.name)
                columns.append(pa.array(column.to_pylist(), viewed[f.name]) if f.name in viewed else column)
        return pa.RecordBatch.from_arrays(columns, names=names)

    schema = flat(pa.RecordBatch.from_pylist([], schema=pa.schema(list(table.schema)))).schema
    return replace(table, schema=schema, batches=lambda: map(flat, table.batches()))


def _head(table: Table) -> dict[str, Any]:
    """The columns of the first batch; of a column that may hold vectors the first one that holds anything."""
    first: dict[str, Any] = {}
    open_ = {f.name for f in table.schema if is_list(f.type) or (_is_text(f.type) and says_vector(f.name))}
    for batch in table.batches():
        if not batch.num_rows:
            continue
        for name in open_ if first else batch.schema.names:
            first[name] = batch.column(name)
        open_ = {n for n in open_ if first[n].null_count == len(first[n])}
        if not open_:
            break
    return first


def _none(table: Table, found: dict[str, Column]) -> str:
    whole = [c.name for c in found.values() if not c.floating]
    if whole:
        return (
            f"{table.source}: column {whole[0]!r} holds lists of whole numbers; vectors must be floating point, or "
            f"asked for: --modality NAME={whole[0]}"
        )
    meant = [f.name for f in table.schema if says_vector(f.name)]
    if meant:
        return (
            f"{table.source}: column {meant[0]!r} holds {table.schema.field(meant[0]).type}, which is no vector; "
            "make it a list of numbers, or text such as [0.1, 0.2]"
        )
    return f"{table.source}: no column holds lists of numbers, or such as text; columns: {listed(table.schema.names)}"


def _was(c: Column, text: bool, group: bool, packed: bool) -> str:
    size = f"{c.width} numbers a row" if c.width else "as many numbers a row as there are"
    if text:
        return f"text, {size}"
    if group:
        return f"{c.width} columns of a number each"
    if packed:
        return f"bits packed in {c.kind}, {8 * c.width} dimensions of +1 and -1"
    if c.floating and "decimal" not in c.kind:
        return f"{c.kind}, {size}"
    zero = "; 0 is taken for zero, unless a column zero_point beside it says otherwise" * (c.kind == "uint8")
    return f"{c.kind}, {size}, widened to {'float32' if _narrow(c) else 'float64'}{zero}"


def _narrow(c: Column) -> bool:
    return c.kind.endswith(("int8", "int16"))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view")


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _of_bytes(table: Table, c: Column) -> Convert:
    def of_bytes(batch: Any, start: int) -> Any:
        cells = stored.as_bytes(batch.column(c.name).to_pylist())
        x = stored.vectors(cells, c.kind, c.width, (c.name, table.source, start))
        there = np.array([v is not None for v in cells], dtype=bool)
        return list_column(x.ravel(), np.where(there, c.width, 0), there)

    return of_bytes


def _of_packed(table: Table, c: Column) -> Convert:
    def of_packed(batch: Any, start: int) -> Any:
        cells = stored.as_bytes(batch.column(c.name).to_pylist())
        flat = unpacked(stored.vectors(cells, "uint8", c.width, (c.name, table.source, start)).astype(np.uint8))
        there = np.array([v is not None for v in cells], dtype=bool)
        return list_column(flat.ravel(), np.where(there, flat.shape[-1], 0), there)

    return of_packed


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _of_quantised(table: Table, c: Column, by: Quantised) -> Convert:
    def of_quantised(batch: Any, start: int) -> Any:
        import pyarrow as pa

        column = _stored(batch.column(c.name))
        x, there = vectors(column.cast(_widened(column.type, pa.float64())), c.name, table.source, start)

        def numbers(name: str) -> np.ndarray:
            each = batch.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)[there]
            return shaped(each, len(x), -1, name, table.source)

        real = by.real(x, numbers)
        return list_column(real.ravel(), np.where(there, real.shape[-1], 0), there)

    return of_quantised


def _sample(column: Any) -> list[Any]:
    return column.drop_null().slice(0, textual.SAMPLE).to_pylist()


def _number(field: Any, head: Any) -> bool:
    """Whether a column holds a floating number a row, or the text of one."""
    import pyarrow as pa

    if _is_text(field.type):
        cells = _sample(head[field.name])
        try:
            return bool(cells) and any("." in c for c in cells) and bool([float(c) for c in cells])
        except ValueError:
            return False
    return bool(pa.types.is_floating(field.type))


def _listed(name: str, kind: Any, column: Any) -> Column | None:
    """What a column of lists of numbers, or of lists of such lists, holds in its first rows."""
    import pyarrow as pa

    if hasattr(kind, "storage_type"):
        column = None if column is None else _stored(column)
        return _listed(name, kind.storage_type if column is None else column.type, column)
    if not is_list(kind):
        return None
    inner = kind.value_type
    nested = is_list(inner)
    leaf = inner.value_type if nested else inner
    if not (pa.types.is_floating(leaf) or pa.types.is_integer(leaf) or pa.types.is_decimal(leaf)):
        return None
    name_of = {"halffloat": "float16", "float": "float32", "double": "float64"}.get(str(leaf), str(leaf).split("(")[0])
    counts = _counts(column)
    if not nested:
        return Column(name, name_of, _constant(counts))
    width = 0 if column is None else _constant(_counts(column.drop_null().flatten()))
    return Column(name, name_of, width, "even" if _constant(counts) else "ragged")


def _counts(column: Any) -> np.ndarray:
    if column is None:
        return np.zeros(0, int)
    return np.asarray(column.drop_null().value_lengths().to_numpy(zero_copy_only=False))


def _constant(counts: np.ndarray) -> int:
    return int(counts[0]) if len(counts) and (counts == counts[0]).all() else 0


def _converter(table: Table, c: Column, text: bool, parts: list[str] | None, packed: bool) -> Convert:
    import pyarrow as pa

    if text:

        def of_text(batch: Any, start: int) -> Any:
            found = textual.parsed(batch.column(c.name).to_pylist(), c.name, table.source, start)
            lengths = np.array([0 if x is None else len(x) for x in found], dtype=np.int64)
            flat = np.concatenate([np.zeros(0, np.float32), *(x for x in found if x is not None)])
            return list_column(flat, lengths, np.array([x is not None for x in found], dtype=bool))

        return of_text
    if parts is not None:

        def of_parts(batch: Any, start: int) -> Any:
            try:
                cast = [batch.column(p).cast(pa.float32()) for p in parts]
            except pa.ArrowInvalid as e:
                raise InputError(f"{table.source}: {parts[0]} … {parts[-1]} hold what is no number ({e})") from None
            x = np.column_stack([p.to_numpy(zero_copy_only=False) for p in cast])
            gone = np.column_stack([p.is_null().to_numpy(zero_copy_only=False) for p in cast])
            there = ~gone.all(1)  # a row with some of them keeps NaN, which is refused with its place, or dropped
            return list_column(x[there].ravel(), np.where(there, len(parts), 0), np.asarray(there))

        return of_parts
    if packed:

        def of_bits(batch: Any, start: int) -> Any:
            x, there = vectors(batch.column(c.name), c.name, table.source, start)
            flat = unpacked(x)
            return list_column(flat.ravel(), np.where(there, flat.shape[-1], 0), there)

        return of_bits
    if c.floating and "decimal" not in c.kind:
        return lambda batch, start: _stored(batch.column(c.name))
    wide = pa.float32() if _narrow(c) else pa.float64()

    def of_numbers(batch: Any, start: int) -> Any:
        column = _stored(batch.column(c.name))
        return column.cast(_widened(column.type, wide))

    return of_numbers


def unpacked(x: np.ndarray) -> np.ndarray:
    """Bytes as dimensions of +1 and -1, eight a byte; int8 is uint8 less 128, as Sentence Transformers writes it."""
    raw = (x.astype(np.int16) + 128).astype(np.uint8) if x.dtype == np.int8 else x
    return np.unpackbits(raw, axis=-1).astype(np.float32) * 2 - 1


def _stored(column: Any) -> Any:
    """A column of lists as it is stored; tensors of two axes as lists of lists."""
    import pyarrow as pa

    if not hasattr(column, "storage"):
        return column
    shape = list(getattr(column.type, "shape", ()))
    if len(shape) != 2:
        return column.storage
    there = column.is_valid().to_numpy(zero_copy_only=False)
    rows = pa.FixedSizeListArray.from_arrays(column.storage.drop_null().flatten(), shape[1])
    return list_column(rows, np.where(there, shape[0], 0), there)


def _widened(kind: Any, leaf: Any) -> Any:
    import pyarrow as pa

    if not is_list(kind):
        return leaf
    inner = _widened(kind.value_type, leaf)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(inner, kind.list_size)
    return pa.large_list(inner) if pa.types.is_large_list(kind) else pa.list_(inner)


def _made(table: Table, converts: dict[str, Convert], gone: set[str]) -> Table:
    import pyarrow as pa

    names = [n for n in table.schema.names if n not in gone or n in converts]
    names += [n for n in converts if n not in table.schema.names]
    shown = ["index" if n.startswith("__index_level_") and "index" not in names else n for n in names]

    def batches() -> Iterator[Any]:
        start = 0
        for batch in table.batches():
            columns = [converts[n](batch, start) if n in converts else plain(batch.column(n)) for n in names]
            yield (
                pa.RecordBatch.from_arrays(columns, names=shown)
                if names
                else pa.RecordBatch.from_pylist([{}] * batch.num_rows)
            )
            start += batch.num_rows

    return replace(table, schema=pa.schema([(n, pa.null()) for n in shown]), batches=batches)
