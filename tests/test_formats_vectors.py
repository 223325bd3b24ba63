"""What is a vector and what is none: lists in lists, text, bytes and bits, payloads, one name a vector."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from tests.commands import run
from workbench.errors import LONGEST, InputError
from workbench.sets.formats import Reading, import_set, load
from workbench.sets.formats.guess import Column, short_names, verdicts
from workbench.sets.formats.stores import from_rows
from workbench.sets.formats.textual import numbers

N, D = 12, 8
X, Y = np.random.default_rng(6).normal(size=(2, N, D)).astype("f4")
INT8 = (np.clip(X / 3, -1, 1) * 127).astype("i1")
PACKED = np.packbits(np.random.default_rng(7).normal(size=(N, 64)) > 0, axis=1)


def table(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def made(path, tmp_path, **reading):
    return import_set([path], tmp_path / "made", Reading(**reading))


# -- lists of vectors --------------------------------------------------------------------------------------------------


def test_ragged_lists_of_vectors_are_captions(tmp_path):
    counts = [3, 4, 0, 1, 2, 5, 1, 1, 3, 2, 1, 1]
    text = [[(Y[i] + k).tolist() for k in range(c)] for i, c in enumerate(counts)]
    text[3] = None
    es, said = made(table(tmp_path / "t.parquet", image=X.tolist(), text=text), tmp_path)
    want = [i for i, c in enumerate(counts) for _ in range(c) if i != 3]
    assert es.item_of_row("text").tolist() == want
    assert np.allclose(es["text"][4], Y[1] + 1)
    assert any("captions" in line for line in said)


def test_as_many_vectors_a_row_are_layers_unless_they_are_called_captions(tmp_path):
    file = table(tmp_path / "t.parquet", image=X.tolist(), text=np.stack([Y, -Y, 2 * Y], 1).tolist())
    es, said = made(file, tmp_path)
    assert es["text"].shape == (N, 3, D)
    assert any("3 vectors a row, read as layers: --captions text reads them as captions" in line for line in said)
    es, _ = made(file, tmp_path, captions=("text",))
    assert es.item_of_row("text").tolist() == np.repeat(np.arange(N), 3).tolist()
    assert np.allclose(es["text"][1::3], -Y)
    done = run("import", file, "-o", tmp_path / "cli", "--captions", "text")
    assert f"text {3 * N}×{D}" in done.stdout
    np.savez(tmp_path / "t.npz", image=X, text=np.stack([Y, -Y], 1))
    assert len(made(tmp_path / "t.npz", tmp_path, captions=("text",))[0]["text"]) == 2 * N
    with pytest.raises(InputError, match="for captions named 'txet'"):
        made(file, tmp_path, captions=("txet",))


def test_what_becomes_ragged_late_is_captions_from_the_begin(tmp_path, monkeypatch):
    from workbench.sets.formats import columnar

    monkeypatch.setattr(columnar, "BATCH", 5)
    text = [[Y[i].tolist()] * (2 if i < 10 else 3) for i in range(N)]
    es, _ = made(table(tmp_path / "t.parquet", image=X.tolist(), text=text), tmp_path)
    assert es.item_of_row("text").tolist() == [i for i in range(N) for _ in range(2 if i < 10 else 3)]


def test_lists_of_vectors_of_several_lengths_are_refused(tmp_path):
    text = [[[1.0, 2.0, 3.0, 4.0], [1.0, 2.0]]] * N
    with pytest.raises(InputError, match="vectors of several lengths in its list at row 0"):
        load(table(tmp_path / "t.parquet", text_emb=text))


# -- the guess ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "taken"),
    [
        ([Column("image", "float32", 512), Column("bbox", "float32", 4)], ["image"]),
        ([Column("image", "float32", 512), Column("rgb", "int64", 3)], ["image"]),
        ([Column("a", "float32", 512), Column("b", "float32", 64), Column("xy", "float32", 2)], ["a", "b"]),
        ([Column("emb", "float32", 64), Column("logprobs", "float64", 0)], ["emb"]),
        ([Column("emb", "int8", 64), Column("tokens", "int64", 64)], ["emb"]),
        ([Column("clip_features", "uint8", 64)], ["clip_features"]),
        ([Column("image", "float32", 64), Column("text", "float32", 3)], ["image", "text"]),
        ([Column("color", "float32", 512), Column("logits", "float32", 512)], ["color"]),
        ([Column("place", "float32", 2)], ["place"]),
        ([Column("codes", "int64", 64)], []),
        ([Column("image", "float32", 64), Column("colbert", "float32", 64, "ragged")], ["image"]),
        ([Column("image", "float32", 64), Column("text", "float32", 64, "ragged")], ["image", "text"]),
        ([Column("imgEmb", "float32", 0), Column("x", "float32", 0)], ["imgEmb"]),
    ],
)
def test_the_guess(columns, taken):
    assert [name for name, v in verdicts(columns).items() if v.take] == taken


def test_names_are_shortened_without_a_clash():
    assert short_names(["image_embedding", "txt_emb"]) == {"image": "image_embedding", "text": "txt_emb"}
    assert short_names(["image", "image_emb"]) == {"image": "image", "image_emb": "image_emb"}


def test_payloads_are_columns_and_each_is_said(tmp_path):
    many = [[X[0].tolist()] * (1 + i % 3) for i in range(N)]
    file = table(
        tmp_path / "t.parquet",
        image=X.tolist(),
        bbox=X[:, :4].tolist(),
        rgb=[[255, 0, i] for i in range(N)],
        logprobs=[[0.5] * (1 + i % 3) for i in range(N)],
        colbert=many,
    )
    es, said = made(file, tmp_path)
    assert es.modalities == ("image",)
    assert list(es.items) == ["id", "bbox", "rgb", "logprobs"]
    assert json.loads(es.items["rgb"][3]) == [255, 0, 3]
    for name in ("bbox is a column", "rgb is a column", "logprobs is a column", "colbert is left out"):
        assert any(line.startswith(name) for line in said), name
    assert made(file, tmp_path, modalities={"box": "bbox", "tokens": "colbert"})[0].modalities == ("box", "tokens")
    with pytest.raises(InputError, match="no vectors named 'bax'; there are image"):
        made(file, tmp_path, modalities={"box": "bax"})


def test_arrays_are_guessed_in_the_same_way(tmp_path):
    np.savez(tmp_path / "a.npz", image=X, box=np.ones((N, 4), int), xy=X[:, :2], label=np.arange(N))
    es, said = made(tmp_path / "a.npz", tmp_path)
    assert es.modalities == ("image",)
    assert set(es.items) == {"id", "box", "xy", "label"}
    assert "box is a column: whole numbers" in said


def test_rows_of_a_store_are_guessed_in_the_same_way():
    rows = [
        {"id": i, "box": [1, 2, 3, 4], "rgb": [255, 0, i], "colbert": [[0.5] * 8] * 3, "image": X[i].tolist()}
        for i in range(N)
    ]
    es = from_rows(rows)
    assert es.modalities == ("image",)
    assert es["image"].dtype == torch.float32
    assert list(es.items) == ["id", "box", "rgb"]
    assert "colbert is left out" in es.source
    assert from_rows(rows, {"v": "colbert"})["v"].shape == (N, 3, 8)


def test_columns_of_a_number_each_are_one_vector(tmp_path):
    wide = pd.DataFrame(X, columns=[f"emb_{k}" for k in range(D)]).assign(id=[f"k{i}" for i in range(N)], year=3.5)
    wide.to_csv(tmp_path / "w.csv", index=False)
    wide.to_parquet(tmp_path / "w.parquet", index=False)
    for file in ("w.csv", "w.parquet"):
        es, _ = made(tmp_path / file, tmp_path)
        assert np.allclose(es["emb"], X)
        assert list(es.items) == ["id", "year"]
    wide.assign(emb_3=[None, *X[1:, 3]]).to_parquet(tmp_path / "hole.parquet")
    with pytest.raises(InputError, match="'emb' has NaN at row 0, dimension 3"):
        load(tmp_path / "hole.parquet")


# -- text --------------------------------------------------------------------------------------------------------------

FORMS = {
    "list": lambda x: str(x.tolist()),
    "json": lambda x: json.dumps(x.tolist(), separators=(",", ":")),
    "blanks": lambda x: " ".join(map(repr, x.tolist())),
    "braces": lambda x: "{" + ",".join(map(repr, x.tolist())) + "}",
    "round": lambda x: str(tuple(x.tolist())),
    "print": lambda x: np.array2string(x, max_line_width=40, precision=9),
    "repr": lambda x: "array(" + np.array2string(x, separator=", ", precision=9) + ", dtype=float32)",
    "tensor": lambda x: f"tensor({x.tolist()})",
    "semicolons": lambda x: ";".join(map(repr, x.tolist())),
    "padded": lambda x: f"  {x.tolist()}\n",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_vectors_as_text(tmp_path, form, end):
    frame = pd.DataFrame({"id": [f"k{i}" for i in range(N)], "embedding": [FORMS[form](x) for x in X]})
    file = tmp_path / f"e.{end}"
    if end in ("csv", "tsv"):
        frame.to_csv(file, index=False, sep="," if end == "csv" else "\t")
    elif end == "parquet":
        frame.to_parquet(file)
    else:
        frame.to_json(file, orient="records", lines=end == "jsonl")
    es, said = made(file, tmp_path)
    assert np.allclose(es["embedding"], X, atol=1e-6)
    assert es.items["id"].tolist() == frame["id"].tolist()
    assert any("text, 8 numbers a row" in line for line in said)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("oops", "column 'embedding' holds 'oops' at row 5, which is no vector"),
        ("[0.1, x]", "at row 5, which is no vector"),
        ("[0.1 0.2 ... 0.3]", "at row 5, cut short"),
        ("[0.1, 0.2]", "has 2 numbers at row 5 but 8 before"),
        ("[[0.1, 0.2]]", "at row 5, which is no vector"),
    ],
)
def test_a_cell_that_is_no_vector_is_named(tmp_path, cell, says):
    cells = [str(x.tolist()) for x in X]
    cells[5] = cell
    pd.DataFrame({"embedding": cells}).to_csv(tmp_path / "e.csv", index=False)
    with pytest.raises(InputError, match=says.replace("[", r"\[")):
        load(tmp_path / "e.csv")


def test_an_empty_cell_is_a_missing_vector_and_other_text_stays_text(tmp_path):
    cells = [str(x.tolist()) for x in X]
    cells[2] = ""
    more = {"phone": "+1 234 567 89", "title": "7 wonders of 9 worlds", "box": "[1, 2, 3, 4]"}
    pd.DataFrame({"embedding": cells, **more}, index=range(N)).to_csv(tmp_path / "e.csv", index=False)
    es = load(tmp_path / "e.csv")
    assert es.modalities == ("embedding",)
    assert es.item_of_row("embedding").tolist() == [i for i in range(N) if i != 2]
    assert es.items["title"][0] == "7 wonders of 9 worlds"
    assert numbers("[[1.0, 2.0]]") is None


# -- narrow numbers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pa.list_(pa.int8(), D), pa.large_list(pa.int8()), pa.list_(pa.int8())])
def test_int8_lists_are_widened(tmp_path, kind):
    es, said = made(table(tmp_path / "t.parquet", emb=pa.array(INT8.tolist(), kind)), tmp_path)
    assert np.array_equal(es["emb"].numpy(), INT8.astype("f4"))
    assert any("int8, 8 numbers a row, widened to float32" in line for line in said)


def test_bits_are_unpacked_where_the_name_or_the_user_says_so(tmp_path):
    want = np.unpackbits(PACKED, axis=1).astype("f4") * 2 - 1
    signed = (PACKED.astype(int) - 128).tolist()
    for name, cells in (("ubinary_emb", PACKED.tolist()), ("binary_emb", pa.array(signed, pa.list_(pa.int8())))):
        cells = pa.array(cells, pa.list_(pa.uint8())) if isinstance(cells, list) else cells
        es = load(table(tmp_path / "t.parquet", **{name: cells}))
        assert np.array_equal(es[name].numpy(), want)
    file = table(tmp_path / "t.parquet", emb=pa.array(PACKED.tolist(), pa.list_(pa.uint8())))
    assert np.array_equal(load(file)["emb"].numpy(), PACKED.astype("f4"))
    assert np.array_equal(made(file, tmp_path, bits=("emb",))[0]["emb"].numpy(), want)
    np.savez(tmp_path / "b.npz", emb_ubinary=PACKED)
    assert np.array_equal(load(tmp_path / "b.npz")["emb_ubinary"].numpy(), want)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_float8_is_widened(tmp_path, dtype):
    x = torch.from_numpy(X).to(dtype)
    save_file({"image": x}, str(tmp_path / "f.safetensors"))
    torch.save({"image": x, "text": torch.from_numpy(INT8)}, tmp_path / "f.pt")
    assert torch.equal(load(tmp_path / "f.safetensors")["image"], x.float())
    es, said = made(tmp_path / "f.pt", tmp_path)
    assert np.array_equal(es["text"].numpy(), INT8.astype("f4"))
    assert any("float8" in line and "widened" in line for line in said)


def test_two_bytes_without_a_type_are_bfloat16(tmp_path):
    raw = (X.view("u4") >> 16).astype("u2").view("V2")  # as numpy saves what ml_dtypes calls bfloat16
    np.save(tmp_path / "image.npy", raw)
    assert np.abs(load(tmp_path / "image.npy")["image"].numpy() - X).max() < 0.05


# -- a name a vector ---------------------------------------------------------------------------------------------------


def test_files_of_a_name_a_vector_are_ids_and_vectors(tmp_path):
    keyed = {f"img/{i:03d}.jpg": X[i] for i in range(N)}
    torch.save({k: torch.from_numpy(x) for k, x in keyed.items()}, tmp_path / "a.pt")
    torch.save({k: torch.from_numpy(x)[None] for k, x in keyed.items()}, tmp_path / "b.pt")
    torch.save({k: x.tolist() for k, x in keyed.items()}, tmp_path / "c.pt")
    np.savez(tmp_path / "d.npz", **keyed)
    save_arrays(keyed, str(tmp_path / "e.safetensors"))
    for file in sorted(tmp_path.iterdir()):
        es = load(file)
        assert es.items["id"].tolist() == list(keyed), file.name
        assert np.allclose(es["vectors"], X)
    both = {k: {"image": torch.from_numpy(x), "text": torch.from_numpy(-x)} for k, x in keyed.items()}
    torch.save(both, tmp_path / "f.pt")
    es = load(tmp_path / "f.pt")
    assert es.items["id"].tolist() == list(keyed)
    assert np.array_equal(es["text"].numpy(), -X)


def test_no_error_lists_thousands_of_names(tmp_path):
    torch.save({f"img/{i:05d}.jpg": torch.randn(8 + i % 2) for i in range(2_000)}, tmp_path / "v.pt")
    with pytest.raises(InputError, match=r"and 1,99\d more") as e:
        load(tmp_path / "v.pt")
    assert len(str(e.value)) <= LONGEST
    with pytest.raises(InputError, match="and 1,988 more") as e:
        load(table(tmp_path / "w.parquet", **{f"column_{i}": [1] for i in range(2_000)}))
    assert len(str(e.value)) <= LONGEST
    assert len(str(InputError("a" * 200 + "; " + "b" * 200 + " mend it"))) <= LONGEST
    assert str(InputError("x" * 400 + " mend it")).endswith("mend it")


def test_tensors_of_two_axes_are_layers(tmp_path):
    made_of = pa.FixedShapeTensorArray.from_numpy_ndarray(np.stack([X, Y], 1))
    es = load(table(tmp_path / "t.parquet", emb=made_of))
    assert np.array_equal(es["emb"][:, 1].numpy(), Y)


def test_whole_numbers_are_vectors_where_nothing_else_is_one():
    assert from_rows([{"id": 1, "image": [1, 0]}, {"id": 2, "image": [0, 1]}])["image"].tolist() == [[1, 0], [0, 1]]


def test_text_in_arrays_is_read_too(tmp_path):
    np.savez(tmp_path / "t.npz", embedding=np.array([str(x.tolist()) for x in X]), id=np.array(list("abcdefghijkl")))
    es = load(tmp_path / "t.npz")
    assert np.allclose(es["embedding"], X)
    assert es.items["id"].tolist() == list("abcdefghijkl")
