"""Every format: read back to the bit what was written, known by its content, and damaged files in one sentence."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import workbench as wb
from workbench.errors import InputError
from workbench.sets.columns import text
from workbench.sets.formats import READERS, WRITERS, Reading, import_set, kind_of, load, read, write

N = 7
ENDS = {
    "parquet": "parquet",
    "arrow": "feather",
    "npz": "npz",
    "safetensors": "safetensors",
    "hdf5": "h5",
    "zarr": "zarr",
    "lance": "lance",
    "projector": "d",
}


def small(dtype=torch.float32, columns=True, **more) -> wb.EmbeddingSet:
    draw = torch.Generator().manual_seed(3)
    vectors = {m: torch.randn(N, d, generator=draw).to(dtype) for m, d in (("image", 5), ("text", 3))}
    items = pd.DataFrame({"id": [f"a{k}" for k in range(N)]})
    if columns:
        items = items.assign(label=["x", "é\u4e00", "y", "x", "", "z", "x"], size=np.arange(N) * 1.5)
    return wb.EmbeddingSet(vectors, items.assign(**more))


def same(a: wb.EmbeddingSet, b: wb.EmbeddingSet, columns=("id", "label")) -> None:
    assert sorted(a.modalities) == sorted(b.modalities)
    for m in a.modalities:
        assert a[m].dtype == b[m].dtype
        assert torch.equal(a[m], b[m]), m
        assert torch.equal(a.item_of_row(m), b.item_of_row(m))
    for c in columns:
        assert text(a.items[c]).tolist() == text(b.items[c]).tolist(), c


# -- there and back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", [w for w in WRITERS if w != "atlas"])
def test_what_is_written_is_read_back_to_the_bit(to, tmp_path):
    es = small()
    out = write(es, tmp_path / f"set.{ENDS[to]}", to)
    back = load(out)
    same(
        es,
        back,
        ("id", "label", "size")
        if to in ("parquet", "arrow", "npz", "hdf5", "zarr", "lance")
        else ("size",)
        if to == "safetensors"
        else ("id", "label"),
    )


@pytest.mark.parametrize("to", ["parquet", "arrow", "npz", "safetensors", "hdf5", "zarr", "lance"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_floats_keep_their_width(to, dtype, tmp_path):
    es = small(dtype, columns=False)
    same(es, load(write(es, tmp_path / f"s.{ENDS[to]}", to)), ())


def test_bfloat16_travels_by_safetensors_and_is_refused_elsewhere(tmp_path):
    es = small(torch.bfloat16, columns=False)
    same(es, load(write(es, tmp_path / "s.safetensors", "safetensors")), ())
    with pytest.raises(InputError, match="bfloat16"):
        write(es, tmp_path / "s.npz", "npz")
    assert not (tmp_path / "s.npz").exists()


@pytest.mark.parametrize("to", ["parquet", "arrow", "lance"])
def test_tables_keep_missing_modalities_and_layers(to, tmp_path):
    draw = torch.Generator().manual_seed(0)
    es = wb.EmbeddingSet(
        {"image": torch.randn(3, 4, generator=draw), "text": torch.randn(5, 2, 4, generator=draw)},
        pd.DataFrame({"id": list("abcde")}),
        rows={"image": [0, 2, 4]},
    )
    back = load(write(es, tmp_path / f"s.{ENDS[to]}", to))
    same(es, back, ("id",))
    with pytest.raises(InputError, match="one row an item"):
        write(es, tmp_path / "s.npz", "npz")


def test_the_file_for_embedding_atlas_has_a_map_and_true_neighbours(tmp_path):
    es = small()
    table = pq.read_table(write(es, tmp_path / "a.parquet", "atlas")).to_pandas()
    assert {"x", "y", "neighbors", "id", "label"} <= set(table)
    x = es.unit("image").numpy()
    for i, found in enumerate(table["neighbors"]):
        others = [j for j in np.argsort(-(x @ x[i])) if j != i]
        assert list(found["ids"]) == others
        assert np.allclose(found["distances"], 1 - (x @ x[i])[others], atol=1e-5)


def test_the_projector_folder_has_a_sprite(tmp_path):
    from PIL import Image

    emoji = wb.dataset("emoji").take(np.arange(10)).only(["text"])
    out = write(emoji, tmp_path / "p", "projector")
    with Image.open(out / "sprite.png") as sprite:
        assert sprite.size == (256, 256)
    assert load(out).items["name"].tolist() == emoji.items["name"].tolist()


# -- what other tools leave --------------------------------------------------------------------------------------------


def test_torch_files(tmp_path):
    es = small()
    torch.save({"image": es["image"], "text": es["text"], "id": es.items["id"].tolist()}, tmp_path / "e.pt")
    same(es, load(tmp_path / "e.pt"), ("id",))
    torch.save(es["image"], tmp_path / "image.pt")
    assert load(tmp_path / "image.pt").modalities == ("image",)
    (tmp_path / "odd").write_bytes((tmp_path / "e.pt").read_bytes())
    assert kind_of(tmp_path / "odd") == "torch", "by content, without a name"


def test_hugging_face_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    es = small()
    rows = {m: es[m].tolist() for m in es.modalities} | {
        "id": es.items["id"].tolist(),
        "label": [v if isinstance(v, str) else None for v in es.items["label"]],
    }
    made = datasets.Dataset.from_dict(
        rows,
        features=datasets.Features(
            {m: datasets.Sequence(datasets.Value("float32")) for m in es.modalities}
            | {c: datasets.Value("string") for c in ("id", "label")}
        ),
    )
    made.save_to_disk(str(tmp_path / "one"))
    same(es, load(tmp_path / "one"))
    made.save_to_disk(str(tmp_path / "two"), num_shards=3)
    same(es, load(tmp_path / "two"))
    datasets.DatasetDict({"train": made.select(range(5)), "test": made.select(range(5, 7))}).save_to_disk(
        str(tmp_path / "three")
    )
    split = load(tmp_path / "three")
    assert split.items["split"].tolist() == ["train"] * 5 + ["test"] * 2


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")  # of the library that writes the file
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_anndata_with_categories_and_missing_values(suffix, tmp_path):
    anndata = pytest.importorskip("anndata")
    es = small()
    with pd.option_context("future.infer_string", False):
        obs = pd.DataFrame(index=pd.Index(es.items["id"].astype(object), dtype=object))
        obs["label"] = pd.Categorical(["x", None, "y", "x", "x", "z", "x"])
        obs["size"] = np.arange(N) * 1.5
        obs["count"] = pd.array([1, None, 3, 4, 5, 6, 7], dtype="Int64")
        made = anndata.AnnData(obs=obs, obsm={"X_clip": es["image"].numpy(), "X_mask": np.ones((N, 1), bool)})
        made.write_h5ad(tmp_path / "a.h5ad")
        if suffix == "zarr":
            pytest.importorskip("zarr")
            made.write_zarr(tmp_path / "a.zarr")
    back = load(tmp_path / f"a.{suffix}")
    assert back.modalities == ("clip",)
    assert torch.equal(back["clip"], es["image"])
    assert back.items["id"].tolist() == es.items["id"].tolist()
    assert [None if v != v else v for v in back.items["label"].tolist()] == ["x", None, "y", "x", "x", "z", "x"]
    assert back.items["size"].tolist() == (np.arange(N) * 1.5).tolist()
    assert [None if pd.isna(v) else v for v in back.items["count"]] == [1, None, 3, 4, 5, 6, 7]


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")  # of the libraries that write the file
def test_mudata_members_may_have_other_items(tmp_path):
    anndata, mudata = pytest.importorskip("anndata"), pytest.importorskip("mudata")
    mudata.set_options(pull_on_update=False)
    draw = np.random.default_rng(0)
    with pd.option_context("future.infer_string", False):
        parts = {
            "rna": anndata.AnnData(
                obs=pd.DataFrame(index=pd.Index(list("abcd"), dtype=object)),
                obsm={"X_pca": draw.normal(size=(4, 3)).astype("f4")},
            ),
            "atac": anndata.AnnData(
                obs=pd.DataFrame(index=pd.Index(list("bcde"), dtype=object)),
                obsm={"X_lsi": draw.normal(size=(4, 2)).astype("f4")},
            ),
        }
        made = mudata.MuData(parts)
        made.obs["kind"] = [f"k{i}" for i in made.obs_names]
        made.write(tmp_path / "m.h5mu")
    es = load(tmp_path / "m.h5mu")
    assert set(es.modalities) == {"rna.pca", "atac.lsi"}
    for m, key, member in (("rna.pca", "X_pca", "rna"), ("atac.lsi", "X_lsi", "atac")):
        ids = es.items["id"].to_numpy()[es.item_of_row(m).numpy()]
        want = pd.DataFrame(parts[member].obsm[key], index=parts[member].obs_names).loc[ids].to_numpy()
        assert np.array_equal(es[m].numpy(), want)
    assert [f"k{i}" for i in es.items["id"]] == es.items["kind"].tolist()


def test_clip_retrieval_folders_in_the_order_of_their_numbers(tmp_path):
    x = np.random.default_rng(0).normal(size=(12, 4)).astype("f2")
    for folder in ("img_emb", "text_emb", "metadata"):
        (tmp_path / folder).mkdir()
    for k in range(12):  # shard 10 must not come after shard 1
        np.save(tmp_path / "img_emb" / f"img_emb_{k}.npy", x[k : k + 1])
        np.save(tmp_path / "text_emb" / f"text_emb_{k}.npy", -x[k : k + 1])
        pd.DataFrame({"caption": [f"c{k}"]}).to_parquet(tmp_path / "metadata" / f"metadata_{k}.parquet")
    es = load(tmp_path)
    assert np.array_equal(es["image"].numpy(), x)
    assert es.items["caption"].tolist() == [f"c{k}" for k in range(12)]
    (tmp_path / "text_emb" / "text_emb_11.npy").unlink()
    with pytest.raises(InputError, match="do not agree"):
        load(tmp_path)


def test_webdataset_shards(tmp_path):
    import io
    import tarfile

    es = small()
    for shard, items in (("00000", range(4)), ("00001", range(4, N))):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as t:
            for k in items:
                parts = {"json": json.dumps({"label": f"l{k}", "nested": {"a": 1}}).encode(), "txt": f"t{k}".encode()}
                for m in es.modalities:
                    if (m, k) != ("text", 2):
                        raw = io.BytesIO()
                        np.save(raw, es[m][k].numpy())
                        parts[f"{m}.npy"] = raw.getvalue()
                for end, raw_bytes in parts.items():
                    info = tarfile.TarInfo(f"some/folder/a{k}.{end}")
                    info.size = len(raw_bytes)
                    t.addfile(info, io.BytesIO(raw_bytes))
    back = load(tmp_path)
    assert torch.equal(back["image"], es["image"])
    assert back.item_of_row("text").tolist() == [0, 1, 3, 4, 5, 6]
    assert back.items["id"].tolist() == es.items["id"].tolist()
    assert back.items["label"].tolist() == [f"l{k}" for k in range(N)]
    (tmp_path / "00001.tar").write_bytes((tmp_path / "00001.tar").read_bytes()[:2000])
    with pytest.raises(InputError, match="00001.tar"):
        load(tmp_path)


def test_a_lancedb_table_is_a_lance_dataset(tmp_path):
    es = small()
    write(es, tmp_path / "table.lance", "lance")
    assert kind_of(tmp_path / "table.lance") == "lance"


def test_rows_of_a_database_cursor(tmp_path):
    import sqlite3

    from workbench.sets.formats.stores import cursor_rows, from_rows

    es = small()
    with sqlite3.connect(":memory:") as base:
        base.execute("create table t (key text, label text, image text, text text)")
        for k in range(N):  # as pgvector writes them
            image = "[" + ",".join(repr(float(v)) for v in es["image"][k]) + "]"
            text = None if k == 2 else "[" + ",".join(repr(float(v)) for v in es["text"][k]) + "]"
            base.execute("insert into t values (?, ?, ?, ?)", (f"a{k}", es.items["label"][k], image, text))
        found = cursor_rows(base.cursor(), "select * from t")
        back = from_rows(found, {"image": "image", "text": "text"}, id="key")
    base.close()
    assert torch.equal(back["image"], es["image"])
    assert back.item_of_row("text").tolist() == [0, 1, 3, 4, 5, 6]
    assert back.items["id"].tolist() == es.items["id"].tolist()
    with pytest.raises(InputError, match="no vector"):
        from_rows([{"id": 1, "image": "[a,b]"}], {"image": "image"})


def test_a_qdrant_collection():
    qdrant = pytest.importorskip("qdrant_client")
    from workbench.sets.formats.stores import from_rows, qdrant_rows

    es = small()
    client = qdrant.QdrantClient(":memory:")
    models = qdrant.models
    size = {m: models.VectorParams(size=es[m].shape[1], distance=models.Distance.DOT) for m in es.modalities}
    client.create_collection("c", vectors_config=size)
    client.upsert(
        "c",
        [
            models.PointStruct(id=k, vector={m: es[m][k].tolist() for m in es.modalities}, payload={"label": f"l{k}"})
            for k in range(N)
        ],
    )
    back = from_rows(qdrant_rows(client, "c"))
    assert torch.equal(back["text"], es["text"])
    assert back.items["label"].tolist() == [f"l{k}" for k in range(N)]


# -- bringing in -------------------------------------------------------------------------------------------------------


def test_import_guesses_names_says_so_and_asks_nothing(tmp_path):
    es = small()
    table = pa.table(
        {
            "url": [f"u{k}" for k in range(N)],
            "image_embedding": list(es["image"].numpy()),
            "txt_emb": list(es["text"].numpy()),
            "class": list("abababa"),
        }
    )
    pq.write_table(table.slice(0, 4), tmp_path / "a.parquet")
    pq.write_table(table.slice(4), tmp_path / "b.parquet")
    words = [str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet"), "-o", str(tmp_path / "set"), "--label", "class"]
    done = subprocess.run(
        [sys.executable, "-m", "workbench.cli", "import", *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    for line in ("image_embedding is the modality image", "txt_emb is the modality text", "url is the id"):
        assert f"guessed  {line}" in done.stdout
    back = wb.load(tmp_path / "set")
    assert torch.equal(back["image"], es["image"])
    assert back.items["id"].tolist() == [f"u{k}" for k in range(N)]
    assert back.items["label"].tolist() == list("abababa")


def test_arrays_and_a_table_of_columns_are_joined(tmp_path):
    es = small()
    for m in es.modalities:
        np.save(tmp_path / f"{m}.npy", es[m].numpy())
    es.items.to_csv(tmp_path / "meta.csv", index=False)
    made, _ = import_set([tmp_path / "image.npy", tmp_path / "text.npy", tmp_path / "meta.csv"], tmp_path / "set")
    same(es, made)
    assert made.items["label"].isna().sum() == 1, "an empty cell of a .csv file is a missing value"
    with pytest.raises(InputError, match="no vectors named 'audio'"):
        read(tmp_path / "image.npy", Reading({"audio": "audio"}))


def test_a_table_in_many_batches_is_the_table_in_one(tmp_path, monkeypatch):
    from workbench.sets.formats import columnar as tables

    es = small()
    write(es, tmp_path / "s.parquet", "parquet")
    monkeypatch.setattr(tables, "BATCH", 2)
    made, _ = import_set([tmp_path / "s.parquet"], tmp_path / "set")
    same(es, made, ("id", "label", "size"))


@pytest.mark.slow
def test_a_million_rows_are_imported_in_bounded_memory(tmp_path):
    file, width = tmp_path / "big.parquet", 768
    schema = pa.schema([("image", pa.list_(pa.float32(), width)), ("n", pa.int64())])
    draw = np.random.default_rng(0)
    with pq.ParquetWriter(file, schema, compression="none") as w:
        for k in range(100):
            x = pa.FixedSizeListArray.from_arrays(
                pa.array(draw.standard_normal(10_000 * width, dtype=np.float32)), width
            )
            w.write_table(pa.table({"image": x, "n": np.arange(10_000) + 10_000 * k}, schema=schema))
    program = (
        "import sys, threading, time\n"
        "peak = 0\n"
        "def watch():\n"
        "    global peak\n"
        "    while True:\n"
        "        held = next(int(x.split()[1]) for x in open('/proc/self/status') if x.startswith('RssAnon'))\n"
        "        peak = max(peak, held); time.sleep(0.05)\n"
        "threading.Thread(target=watch, daemon=True).start()\n"
        "from workbench.sets.formats import import_set\n"
        f"es, _ = import_set(['{file}'], '{tmp_path / 'set'}')\n"
        "print(len(es), peak // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    count, megabytes = map(int, done.stdout.split())
    print(f"import of a million rows of {width} float32: {megabytes} MB of its own memory at most")
    assert count == 1_000_000
    assert megabytes < 2_000


# -- damage ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Path]:
    """A sound file of each format that is one file."""
    root = tmp_path_factory.mktemp("whole")
    es = small()
    files = {
        to: write(es, root / f"s.{end}", to) for to, end in ENDS.items() if to not in ("zarr", "lance", "projector")
    }
    np.save(root / "image.npy", es["image"].numpy())
    torch.save({"image": es["image"]}, root / "e.pt")
    return files | {"npy": root / "image.npy", "torch": root / "e.pt"}


def gentle(file: Path) -> None:
    """A file is read, or refused in one sentence."""
    try:
        load(file)
    except InputError as e:
        said = str(e)
    else:
        return
    assert len(said.splitlines()) == 1
    assert file.name in said


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_end_in_one_sentence(whole, tmp_path, data):
    kind = data.draw(st.sampled_from(sorted(whole)))
    raw = bytearray(whole[kind].read_bytes())
    how = data.draw(st.sampled_from(["cut", "flip", "zero", "grow"]))
    at = data.draw(st.integers(0, len(raw) - 1))
    if how == "cut":
        raw = raw[:at]
    elif how == "flip":
        raw[at] ^= 1 << data.draw(st.integers(0, 7))
    elif how == "zero":
        raw[at : at + 64] = bytes(min(64, len(raw) - at))
    else:
        raw[at:at] = data.draw(st.binary(min_size=1, max_size=40))
    file = tmp_path / f"damaged{whole[kind].suffix}"
    file.write_bytes(bytes(raw))
    gentle(file)


def test_a_heap_of_texts_without_an_end_is_refused(whole, tmp_path):
    """libhdf5 walks one for ever, so the file is read in another process."""
    raw = bytearray(whole["hdf5"].read_bytes())
    at = raw.index(b"GCOL") + 16
    while int.from_bytes(raw[at : at + 2], "little"):  # up to what is free
        at += 16 + -(-int.from_bytes(raw[at + 8 : at + 16], "little") // 8) * 8
    raw[at + 8 : at + 16] = bytes(8)
    (tmp_path / "endless.h5").write_bytes(raw)
    words = [sys.executable, "-m", "workbench.cli", "diagnose", str(tmp_path / "endless.h5")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "its heap of texts at byte" in done.stderr


class Evil:
    def __reduce__(self):
        return (Path("/tmp/was-unpickled").touch, ())


@pytest.mark.parametrize("kind", ["pickle", "torch", "npy", "npz"])
def test_nothing_is_unpickled(kind, tmp_path):
    mark = Path("/tmp/was-unpickled")
    mark.unlink(missing_ok=True)
    file = tmp_path / {"pickle": "e.pkl", "torch": "e.pt", "npy": "e.npy", "npz": "e.npz"}[kind]
    odd = np.array([Evil()], dtype=object)
    if kind == "pickle":
        file.write_bytes(pickle.dumps({"image": Evil()}))
    elif kind == "torch":
        torch.save({"image": Evil()}, file)
    elif kind == "npy":
        np.save(file, odd, allow_pickle=True)
    else:
        np.savez(file, image=odd)
    with pytest.raises(InputError, match="never|pickle"):
        load(file)
    assert not mark.exists()


def test_archives_that_would_swell_are_refused(tmp_path):
    file = tmp_path / "bomb.npz"
    header = (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", 118)
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (200000000, 2), }".ljust(117)
        + b"\n"
    )
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as z, z.open("image.npy", "w", force_zip64=True) as f:
        f.write(header)
        for _ in range(1_600):
            f.write(bytes(1_000_000))
    assert file.stat().st_size < 3_000_000
    with pytest.raises(InputError, match="open to 1,600"):
        load(file)


def test_a_dataset_cannot_name_files_elsewhere(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../secret.arrow"}]}))
    (tmp_path / "secret.arrow").write_bytes(b"")
    with pytest.raises(InputError, match="not in this folder"):
        load(folder)


@pytest.mark.parametrize("name", ["lance", "hdf5", "zarr"])
def test_what_a_format_needs_is_named_with_its_command(name, tmp_path):
    module = {"lance": "lance", "hdf5": "h5py", "zarr": "zarr"}[name]
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "import workbench as wb\nfrom workbench.sets.formats import write\n"
        f"write(wb.testing.planted(items=10), {str(tmp_path / 'x')!r}, {name!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert f"pip install 'workbench[{name}]'" in done.stderr


def test_every_format_is_in_the_catalogue():
    from workbench.cli.catalog import catalog

    assert {r["name"] for r in catalog("formats")} == set(READERS) | set(WRITERS)
