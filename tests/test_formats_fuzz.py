"""Columns of any type of Arrow, through the commands people use: an answer or one sentence, never a traceback."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import workbench as wb
from tests.commands import run
from workbench.sets.formats import as_set

N, D = 24, 6
rng = np.random.default_rng(5)
X, Y = rng.normal(size=(2, N, D)).astype("f4")
DAY = datetime.datetime(2020, 1, 1)
TYPES = {
    "bool": ([True, False, None], pa.bool_()),
    "int8": ([1, 2, None], pa.int8()),
    "uint64": ([2**63 + 1, 2, None], pa.uint64()),
    "half": ([np.float16(1), np.float16("nan"), None], pa.float16()),
    "double": ([1.5, float("nan"), float("inf")], pa.float64()),
    "text": (["a", "", None], pa.string()),
    "large text": (["a", "b\u2028", None], pa.large_string()),
    "bytes": ([b"\x89PNG", b"", None], pa.binary()),
    "fixed bytes": ([b"abcd", b"\x00\xff\x00\xff", None], pa.binary(4)),
    "date": ([DAY.date(), None, DAY.date()], pa.date32()),
    "time": ([datetime.time(1, 2), None, datetime.time(3, 4)], pa.time64("us")),
    "instant": ([DAY, None, DAY], pa.timestamp("ns", tz="UTC")),
    "span": ([datetime.timedelta(1), None, datetime.timedelta(2)], pa.duration("us")),
    "decimal": ([decimal.Decimal("1.50"), None, decimal.Decimal("2.00")], pa.decimal128(8, 2)),
    "nothing": ([None, None, None], pa.null()),
    "list of text": ([["a"], [], None], pa.list_(pa.string())),
    "box": ([[1, 2, 3, 4]] * 3, pa.list_(pa.int64())),
    "ragged": ([[1.0], [1.0, 2.0], None], pa.list_(pa.float32())),
    "fixed pair": ([[1.0, 2.0]] * 3, pa.list_(pa.float32(), 2)),
    "struct": ([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}], pa.struct({"a": pa.int64(), "b": pa.string()})),
    "map": ([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
    "words": (["u", "v", None], pa.dictionary(pa.int8(), pa.string())),
}


def table(column, kind, name="odd"):
    values = pa.array([column[i % 3] for i in range(N)], kind)
    return pa.table({"id": [f"i{k}" for k in range(N)], "image": X.tolist(), "text": Y.tolist(), name: values})


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("family", "split")]


@pytest.mark.parametrize("name", ["odd", "label", *SLOW])
@pytest.mark.parametrize("kind", TYPES)
def test_every_type_of_column_is_taken_or_refused_in_a_sentence(kind, name, tmp_path):
    file = tmp_path / "t.parquet"
    made = table(*TYPES[kind], name=name)
    pq.write_table(made, file)
    commands = [
        ["diagnose", str(file), "--only", "recall_at_1"],
        ["diagnose", str(file), "--label", name, "--only", "knn_label_accuracy"],
        ["diagnose", str(file), "--by", name, "--only", "recall_at_1"],
        ["import", str(file), "-o", str(tmp_path / "set")],
        ["convert", str(file), "-o", str(tmp_path / "d"), "--to", "projector"],
    ]
    for words in commands:
        done = run(*words)
        said = done.stdout + done.stderr
        assert done.returncode in (0, 2), said
        assert "Traceback" not in said
        assert all(len(line) <= 400 for line in done.stderr.splitlines())
    if (tmp_path / "set").exists():
        assert wb.load(tmp_path / "set").modalities == ("image", "text")
    if name == "odd" and kind != "nothing":
        assert as_set(made).modalities == ("image", "text")


def test_a_frame_is_taken_as_its_file_is():
    frame = pd.DataFrame({"id": [f"i{k}" for k in range(N)], "image": [*X], "text": [*Y], "kind": ["u", None] * 12})
    es = as_set(frame[4:])
    assert es.modalities == ("image", "text")
    assert list(es.items) == ["id", "kind"]
    assert np.array_equal(es["image"].numpy(), X[4:])
    assert (
        wb.diagnose(frame).frame["value"].tolist()[:4]
        == wb.diagnose({"image": X, "text": Y}).frame["value"][:4].tolist()
    )
    with pytest.raises(wb.InputError, match="no column holds lists"):
        as_set(frame[["id", "kind"]])


def test_a_selection_of_a_hugging_face_dataset_is_taken():
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_dict({"image": X.tolist(), "n": list(range(N))})
    es = as_set(whole.shuffle(seed=1).select(range(5)))
    assert np.array_equal(es["image"].numpy(), X[es.items["n"].to_numpy()])
