"""Columns that other programs write: empty, mixed, nested, of one name; line ends; what breaks in a library."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import workbench as wb
from tests.commands import run
from workbench.errors import InputError
from workbench.sets.formats import import_set, kind_of, load, write
from workbench.sets.formats.plain import read_columns
from workbench.sets.formats.stores import from_rows

N, D = 6, 5
X, Y = np.random.default_rng(8).normal(size=(2, N, D)).astype("f4")


def table(path, **columns):
    pq.write_table(pa.table({"image": X.tolist(), **columns}), path)
    return path


def plain(values):
    return [None if pd.isna(v) else v for v in values]


@pytest.fixture
def beside(tmp_path):
    """A function that imports image.npy with the rows of metadata.jsonl."""

    def made(rows):
        np.save(tmp_path / "image.npy", X)
        (tmp_path / "m.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
        return import_set([tmp_path / "image.npy", tmp_path / "m.jsonl"], tmp_path / "set")[0].items

    return made


# -- columns -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([2001, "unknown", 2003, None, 2005, "?"], ["2001", "unknown", "2003", None, "2005", "?"]),
        ([True, "yes", 1, 0.5, None, "no"], ["true", "yes", "1", "0.5", None, "no"]),
        ([{"a": 1}, {"b": [1]}, None, {}, {"a": "x"}, {"a": None}], None),
        ([[1], "one", 1, None, {"a": 1}, [2, 3]], ["[1]", "one", "1", None, '{"a": 1}', "[2, 3]"]),
        ([2**70, 1, 2, 3, 4, 5], [str(2**70), "1", "2", "3", "4", "5"]),
    ],
)
def test_columns_of_several_kinds_are_text(beside, values, want):
    found = plain(beside([{"v": v} for v in values])["v"])
    if want is None:
        assert [None if v is None else type(json.loads(v)) for v in found] == [dict, dict, None, dict, dict, dict]
    else:
        assert found == want


def test_what_a_line_lacks_is_missing_and_dates_stay_as_written(beside):
    items = beside([{"date": "2024-01-02", "n": 0}] + [{"n": i} for i in range(1, N)])
    assert plain(items["date"]) == ["2024-01-02"] + [None] * (N - 1)
    assert items["n"].tolist() == list(range(N))


def test_whole_numbers_with_gaps_stay_whole(tmp_path):
    big = [2**60 + 1, None, 3, 4, 5, 2**53 + 1]
    es = load(table(tmp_path / "t.parquet", n=pa.array(big, pa.int64())))
    assert plain(es.items["n"]) == big
    (tmp_path / "m.jsonl").write_text("".join(json.dumps({"n": n}) + "\n" for n in big))
    assert plain(read_columns(tmp_path / "m.jsonl")["n"]) == big
    assert plain(from_rows([{"id": i, "v": X[i], "n": n} for i, n in enumerate(big)]).items["n"]) == big


def test_nested_columns_are_json_and_pictures_are_bytes(tmp_path):
    es = load(
        table(
            tmp_path / "t.parquet",
            m=pa.array([[("k", 1)]] * N, pa.map_(pa.string(), pa.int64())),
            s=[{"a": 1, "b": ["x"]}] * N,
            tags=[["é", "y"]] * N,
            picture=[{"bytes": b"png", "path": "a.png"}] * N,
            nothing=pa.nulls(N),
        )
    )
    assert es.modalities == ("image",)
    first = es.items.iloc[0]
    assert [json.loads(first[c]) for c in ("m", "s", "tags")] == [{"k": 1}, {"a": 1, "b": ["x"]}, ["é", "y"]]
    assert first["picture"] == b"png"
    es.save(tmp_path / "set")
    assert wb.load(tmp_path / "set").items["tags"][0] == first["tags"]


def test_an_index_that_pandas_kept_is_a_column(tmp_path):
    frame = pd.DataFrame({"image": X.tolist(), "n": range(N)}, index=pd.Index([f"k{i}" for i in range(N)], name="id"))
    frame.to_parquet(tmp_path / "t.parquet")
    assert load(tmp_path / "t.parquet").items["id"].tolist() == frame.index.tolist()


def twice(path):
    v = pa.array(X.tolist())
    pq.write_table(pa.Table.from_arrays([v, v], names=["emb", "emb"]), path / "t.parquet")
    with pa.OSFile(str(path / "t.arrow"), "wb") as raw:
        both = pa.Table.from_arrays([v, v], names=["emb", "emb"])
        with pa.ipc.new_file(raw, both.schema) as out:
            out.write_table(both)
    (path / "t.csv").write_text("emb,emb\n1,2\n")
    (path / "t.jsonl").write_text('{"emb": [0.5, 1], "emb": 2}\n')


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow", "t.csv", "t.jsonl"])
def test_two_columns_of_one_name_are_refused_in_one_sentence(tmp_path, name):
    twice(tmp_path)
    with pytest.raises(InputError, match="'emb'") as e:
        load(tmp_path / name)
    assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("a,b\n1,\n,x\n", [["1", None], [None, "x"]]),
        ('a,b\n1,"x\ny"\nNA,nan\n', [["1", "x\ny"], ["NA", "nan"]]),
        ("\ufeffa,b\n1,2\n", [["1", "2"]]),
        ("a,b\r\n1,\r\n", [["1", None]]),
        ("a\nx\n\ny\n", [["x"], [None], ["y"]]),
    ],
)
def test_empty_cells_of_a_csv_are_missing(tmp_path, text, want):
    (tmp_path / "t.csv").write_bytes(text.encode())
    found = read_columns(tmp_path / "t.csv")
    assert [plain(r) for r in found.itertuples(index=False)] == want


@pytest.mark.parametrize("text", ["a,b\n1,2,3\n4,5,6\n", "", '"a\n'])
def test_a_damaged_csv_is_refused(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=r"t\.csv"):
        load(tmp_path / "t.csv")


# -- the projector -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x0b", "\x0c", "\x85", "\x1c", "\r", "\r\n", "\n", "\t"])
def test_no_line_end_inside_a_text_makes_lines(tmp_path, end):
    frame = pd.DataFrame({"caption": [f"a{end}{i}" for i in range(N)], f"k{end}": list("abcdef")})
    es = wb.EmbeddingSet({"image": X}, frame)
    out = write(es, tmp_path / "out", "projector")
    back = load(out)
    assert back.items["caption"].tolist() == [f"a {i}" for i in range(N)]
    one = wb.EmbeddingSet({"image": X}, pd.DataFrame({"id": [f"a{end}{i}" for i in range(N)]}))
    assert load(write(one, tmp_path / "one", "projector")).items["name"].tolist() == [f"a {i}" for i in range(N)]
    assert len((out / "metadata.tsv").read_text(encoding="utf-8").splitlines()) == N + 1


def test_others_line_ends_inside_a_label_are_no_lines(tmp_path):
    np.savetxt(tmp_path / "vectors.tsv", X, delimiter="\t")
    (tmp_path / "metadata.tsv").write_text("".join(f"a\u2028b\x85{i}\n" for i in range(N)), encoding="utf-8")
    assert load(tmp_path).items["name"][0] == "a\u2028b\x850"


def summary(path, *, config=True, tags=("default",)):
    lines = []
    for step, tag in enumerate(tags):
        folder = path / f"{step:05d}" / tag
        folder.mkdir(parents=True)
        np.savetxt(folder / "tensors.tsv", X if step == 0 else Y, delimiter="\t")
        (folder / "metadata.tsv").write_text("".join(f"m{i}\n" for i in range(N)))
        place = f"{step:05d}/{tag}"
        lines.append(
            f'embeddings {{\ntensor_name: "{tag}:{step:05d}"\nmetadata_path: "{place}/metadata.tsv"\n'
            f'tensor_path: "{place}/tensors.tsv"\n}}\n'
        )
    if config:
        (path / "projector_config.pbtxt").write_text("".join(lines))


@pytest.mark.parametrize("config", [True, False])
def test_the_folder_of_a_summary_writer(tmp_path, config):
    summary(tmp_path, config=config, tags=("image", "text"))
    assert kind_of(tmp_path) == "projector"
    es = load(tmp_path)
    assert np.allclose(es["image"], X)
    assert np.allclose(es["text"], Y)
    assert es.items["name"].tolist() == [f"m{i}" for i in range(N)]


def test_of_several_steps_the_last_is_read_and_that_is_said(tmp_path):
    summary(tmp_path / "log", tags=("default", "default"))
    es, said = import_set([tmp_path / "log"], tmp_path / "set")
    assert np.allclose(es["default"], Y)
    assert "1 older steps are left out: of each tag the last one is read" in said


def test_a_configuration_names_no_file_elsewhere(tmp_path):
    (tmp_path / "log").mkdir()
    np.savetxt(tmp_path / "secret.tsv", X, delimiter="\t")
    (tmp_path / "log" / "projector_config.pbtxt").write_text('embeddings {\n tensor_path: "../secret.tsv"\n}\n')
    with pytest.raises(InputError, match="not in this folder"):
        load(tmp_path / "log")


# -- a library that breaks ---------------------------------------------------------------------------------------------


class PanicError(BaseException):
    """As what a library in Rust raises, which is no Exception."""


@pytest.mark.parametrize("where", ["open", "read"])
def test_a_panic_in_a_library_is_one_sentence(tmp_path, monkeypatch, where):
    def panic(*_, **__):
        raise PanicError("index out of bounds\nmore")

    schema = pa.schema([("image", pa.list_(pa.float32()))])
    opened = SimpleNamespace(schema=schema, count_rows=lambda: 3, to_batches=panic)
    library = SimpleNamespace(dataset=panic if where == "open" else lambda _: opened)
    monkeypatch.setitem(sys.modules, "lance", library)
    (tmp_path / "t.lance").mkdir()
    with pytest.raises(InputError, match=r"t\.lance.*index out of bounds\)$"):
        load(tmp_path / "t.lance")


def test_who_stops_a_reader_stops_it(tmp_path, monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "lance", SimpleNamespace(dataset=stop))
    (tmp_path / "t.lance").mkdir()
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path / "t.lance")


def test_tables_of_text_follow_each_other_as_splits(tmp_path):
    for k, name in enumerate(("train", "dev")):
        rows = [{"id": f"{name}{i}", "emb": (X[i] + k).tolist()} for i in range(N)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    es, _ = import_set([tmp_path / "train.jsonl", tmp_path / "dev.jsonl"], tmp_path / "set")
    assert es.items["split"].tolist() == ["train"] * N + ["validation"] * N
    assert torch.allclose(es["emb"][N:].float(), torch.from_numpy(X + 1))


# -- what a stranger brought -------------------------------------------------------------------------------------------


def test_a_dict_of_vectors_by_item_for_each_modality(tmp_path):
    order = np.random.default_rng(3).permutation(N)
    parts = {
        "image": {f"p{i}": torch.tensor(X[i]) for i in range(N)},
        "text": {f"p{i}": torch.tensor(Y[i]) for i in order},
    }
    torch.save(parts, tmp_path / "b.pt")
    es = load(tmp_path / "b.pt")
    assert es.items["id"].tolist() == [f"p{i}" for i in range(N)]
    assert np.array_equal(es["image"].numpy(), X)
    assert np.array_equal(es["text"].numpy(), Y)
    del parts["text"]["p2"]
    torch.save(parts, tmp_path / "c.pt")
    assert load(tmp_path / "c.pt").item_of_row("text").tolist() == [0, 1, *range(3, N)]


def test_a_list_with_none_or_maps_is_a_column_of_a_torch_file(tmp_path):
    family = [None if i % 3 == 0 else i // 2 for i in range(N)]
    torch.save({"image": torch.tensor(X), "family": family, "meta": [{"a": i} for i in range(N)]}, tmp_path / "a.pt")
    es = load(tmp_path / "a.pt")
    assert plain(es.items["family"]) == family
    assert json.loads(es.items["meta"][1]) == {"a": 1}


def test_one_vector_that_is_too_short_is_named(tmp_path):
    short = Y.tolist()
    short[4] = short[4][:-1]
    with pytest.raises(InputError, match="'text' has 4 numbers at row 4 but 5 before"):
        load(table(tmp_path / "t.parquet", text=short))


def test_diagnose_says_which_shard_is_not_there(tmp_path):
    for k in (0, 2):
        pq.write_table(
            pa.table({"image": X.tolist(), "text": Y.tolist()}), tmp_path / f"train-0000{k}-of-00003.parquet"
        )
    assert "train lacks shard 1" in run("diagnose", str(tmp_path), "--only", "recall_at_1").stdout


def test_diagnose_says_what_was_assumed_and_nothing_else(tmp_path):
    layered = table(tmp_path / "layers.parquet", text=np.stack([X, Y, X], 1).tolist())
    said = run("diagnose", str(layered), "--only", "uniformity").stdout
    assert "3 vectors a row, read as layers: --captions text" in said
    assert "image is the modality image" not in said


def test_a_class_beside_a_label_keeps_both(tmp_path):
    with tarfile.open(tmp_path / "t.tar", "w") as t:
        for i in range(N):
            raw = io.BytesIO()
            np.save(raw, X[i])
            for name, data in (("image.npy", raw.getvalue()), ("json", b'{"label": "l"}'), ("cls", b"3")):
                member = tarfile.TarInfo(f"{i}.{name}")
                member.size = len(data)
                t.addfile(member, io.BytesIO(data))
    row = load(tmp_path / "t.tar").items.iloc[0]
    assert {"l", "3"} <= set(row.astype(str))
