"""Files as other programs and other countries save them: separators, encodings, JSON by id, ids that begin anew."""

from __future__ import annotations

import json

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.sets.formats import kind_of, load, load_aloud
from workbench.sets.formats.bring_in import load_together
from workbench.sets.formats.plain import cells

N, D = 12, 6
X, Y = np.random.default_rng(11).normal(size=(2, N, D)).astype("f4")
IDS = [f"k{i}" for i in range(N)]


# -- separators and encodings ------------------------------------------------------------------------------------------


def rows(mark, ids=IDS):
    lines = [mark.join(("id", "image", "text", "note"))]
    lines += [mark.join((i, str(x.tolist()), str(y.tolist()), "a b")) for i, x, y in zip(ids, X, Y, strict=True)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("|", "bars"), ("\t", "tabs")])
@pytest.mark.parametrize("end", [".csv", ".tsv"])
def test_what_stands_between_columns_is_told_by_the_lines(tmp_path, mark, name, end):
    (tmp_path / f"t{end}").write_text(rows(mark))
    es, said = load_aloud(tmp_path / f"t{end}")
    assert np.array_equal(es["image"].numpy(), X)
    assert np.array_equal(es["text"].numpy(), Y)
    assert es.items["id"].tolist() == IDS
    usual = (mark, end) == ("\t", ".tsv")
    assert usual or f"t{end} is read with {name} between its columns" in said
    assert not usual or not any("between" in line for line in said)


def test_a_usual_table_with_other_marks_in_its_texts_stays_usual(tmp_path):
    (tmp_path / "t.csv").write_text('id,caption\n1,"a; b"\n2,"c; d"\n')
    said = []
    assert cells(tmp_path / "t.csv", said) == {"id": ["1", "2"], "caption": ["a; b", "c; d"]}
    (tmp_path / "one.csv").write_text("caption\na; b\nc\n")
    assert cells(tmp_path / "one.csv", said) == {"caption": ["a; b", "c"]}
    assert said == []


def test_numbers_with_a_decimal_comma_are_numbers(tmp_path):
    head = ";".join(["id", *(f"image_dim_{k}" for k in range(D))])
    lines = [";".join([i, *(str(v).replace(".", ",") for v in x.tolist())]) for i, x in zip(IDS, X, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join([head, *lines]) + "\n")
    es, said = load_aloud(tmp_path / "t.csv")
    assert np.array_equal(es[es.modalities[0]].numpy(), X)
    assert "t.csv: image_dim_0 and 5 more columns have numbers with a decimal comma" in said


def test_a_tsv_of_numbers_alone_is_still_the_projectors(tmp_path):
    np.savetxt(tmp_path / "a.tsv", X, delimiter="\t")
    assert kind_of(tmp_path / "a.tsv") == "projector"
    assert load(tmp_path / "a.tsv").modalities == ("a",)


@pytest.mark.parametrize(("codec", "name"), [("utf-16", "UTF-16"), ("utf-16-be", "UTF-16"), ("utf-32", "UTF-32")])
def test_wide_encodings_are_read_where_a_mark_says_so(tmp_path, codec, name):
    ids = ["é", *IDS[1:]]
    body = rows("\t", ids)
    (tmp_path / "t.csv").write_bytes((("\ufeff" if codec == "utf-16-be" else "") + body).encode(codec))
    es, said = load_aloud(tmp_path / "t.csv")
    assert es.items["id"].tolist() == ids
    assert np.array_equal(es["image"].numpy(), X)
    assert f"t.csv is {name}" in said


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json"])
def test_another_encoding_is_refused_with_its_line(tmp_path, name):
    (tmp_path / name).write_bytes(b'{"a": 1}\n{"a": "caf\xe9"}\n')
    with pytest.raises(InputError, match=r"line 2 is not UTF-8 \(byte 0xe9\); save it as UTF-8"):
        load(tmp_path / name)
    (tmp_path / name).write_bytes("a;b\n".encode("utf-16-le"))
    with pytest.raises(InputError, match="save it as UTF-8"):
        load(tmp_path / name)


# -- JSON by id --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [D, D - 1])
@pytest.mark.parametrize("label", [True, False])
def test_records_by_id_are_told_from_rows_by_column(tmp_path, width, label):
    columns = {"image": X.tolist(), "text": Y[:, :width].tolist()} | ({"label": ["x", "y"] * 6} if label else {})
    records = {i: {c: v[k] for c, v in columns.items()} for k, i in enumerate(IDS)}
    (tmp_path / "r.json").write_text(json.dumps(records))
    (tmp_path / "c.json").write_text(json.dumps({c: dict(zip(IDS, v, strict=True)) for c, v in columns.items()}))
    es, said = load_aloud(tmp_path / "r.json")
    assert es.items["id"].tolist() == IDS
    assert "12 names with a record each: the names are the ids" in said
    for found in (es, load(tmp_path / "c.json")):
        assert found.modalities == ("image", "text")
        assert np.array_equal(found["image"].numpy(), X)
        assert np.array_equal(found["text"].numpy(), Y[:, :width])
        assert not label or found.items["label"].tolist() == ["x", "y"] * 6


@pytest.mark.parametrize("ids", [IDS, [str(k) for k in range(N)]])
def test_a_json_file_of_id_to_vector(tmp_path, ids):
    (tmp_path / "v.json").write_text(json.dumps(dict(zip(ids, X.tolist(), strict=True))))
    es = load(tmp_path / "v.json")
    assert es.items["id"].tolist() == ids
    assert np.array_equal(es[es.modalities[0]].numpy(), X)


# -- several files of the same items -----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["json", "csv"])
def test_two_files_of_a_vector_by_id_are_two_modalities_of_the_same_items_in_any_order(tmp_path, end):
    for name, x, order in (("pics", X, range(N)), ("words", Y, reversed(range(N)))):
        vectors = {IDS[i]: x[i].tolist() for i in order}
        lines = ["id,embedding", *(f'{k},"{v}"' for k, v in vectors.items())]
        (tmp_path / f"{name}.{end}").write_text(json.dumps(vectors) if end == "json" else "\n".join(lines) + "\n")
    es, said = load_together([tmp_path / f"pics.{end}", tmp_path / f"words.{end}"])
    assert es.items["id"].tolist() == IDS
    assert np.allclose(es["pics"].numpy(), X)
    assert np.allclose(es["words"].numpy(), Y)
    assert f"words.{end} is joined to pics.{end} by id" in said


def test_two_files_of_other_ids_are_more_items(tmp_path):
    for name, x, ids in (("one", X, IDS), ("two", Y, [f"m{i}" for i in range(N)])):
        (tmp_path / f"{name}.json").write_text(json.dumps({k: v.tolist() for k, v in zip(ids, x, strict=True)}))
    es, _ = load_together([tmp_path / "one.json", tmp_path / "two.json"])
    assert len(es) == 2 * N
    assert len(es.modalities) == 1
