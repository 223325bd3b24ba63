"""Files whose parts are not row by row the same items: groups, places, shards cut elsewhere, long tables."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file

import workbench as wb
from tests.commands import run
from workbench.errors import InputError
from workbench.sets.formats import Reading, load, load_aloud, read


def pair(items: int = 40, rows: int | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, texts near them, and the image of each text."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((items, 16)).astype(np.float32)
    of = np.arange(items) if rows is None else np.sort(rng.integers(0, items, rows))
    return x, x[of] + 0.9 * rng.standard_normal((len(of), 16)).astype(np.float32), of


def recall(x: np.ndarray, y: np.ndarray, of: np.ndarray) -> float:
    """R@1 of texts among images, by hand."""
    a, b = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    return float(((b @ a.T).argmax(1) == of).mean())


def told(es: wb.EmbeddingSet) -> float:
    image, text = (
        ("image", "text") if "image" in es else (next(m for m in es.modalities if m.startswith(p)) for p in ("im", "t"))
    )
    return wb.diagnose(es, only=["recall_at_1"]).value("recall_at_1", text, image)


@pytest.mark.parametrize("splits", [("train", "dev"), ("train", "test_unseen"), ("fold a", "fold b")])
@pytest.mark.parametrize("kind", ["h5", "npz", "safetensors"])
def test_groups_of_a_file_follow_each_other(tmp_path: Path, splits: tuple[str, str], kind: str) -> None:
    x, y, of = pair(50)
    file = tmp_path / f"a.{kind}"
    cut = {splits[0]: slice(0, 30), splits[1]: slice(30, 50)}
    held = {
        f"{s}/{n}": z[at] for s, at in cut.items() for n, z in (("image", x), ("text", y), ("kind", np.arange(50) % 3))
    }
    if kind == "h5":
        with h5py.File(file, "w") as f:
            for name, z in held.items():
                f[name] = z
    elif kind == "npz":
        np.savez(file, **held)
    else:
        save_file({k: np.ascontiguousarray(z) for k, z in held.items()}, str(file))
    es = load(file)
    assert told(es) == recall(x, y, of)
    column = es.items["group" if "fold a" in splits else "split"]
    assert column.value_counts().tolist() == [30, 20]
    kinds = es.items["kind"].astype(int)[(column == column.mode()[0]).to_numpy()]
    assert kinds.tolist() == (np.arange(30) % 3).tolist()


def test_splits_that_words_of_names_say_follow_each_other(tmp_path: Path) -> None:
    x, y, of = pair(50)
    np.savez(
        tmp_path / "a.npz", image_train=x[:30], text_train=y[:30], image_val=x[30:], text_val=y[30:], y_train=of[:30]
    )
    es = load(tmp_path / "a.npz")
    assert told(es) == recall(x, y, of)
    assert es.items["split"].tolist() == ["train"] * 30 + ["validation"] * 20
    assert es.items["y"].isna().sum() == 20


def test_groups_named_as_modalities_stay_modalities(tmp_path: Path) -> None:
    x, y, of = pair()
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["image/features"], f["text/features"] = x, y
    es = load(tmp_path / "a.h5")
    assert len(es.modalities) == 2
    assert len(es) == len(of)


@pytest.mark.parametrize("name", ["text_to_image", "txt2img", "image_index", "text_image_idx", "caption_to_image"])
@pytest.mark.parametrize("rows", [None, 90])
@pytest.mark.parametrize("first", [0, 1])
def test_places_say_whose_a_row_is(tmp_path: Path, name: str, rows: int | None, first: int) -> None:
    x, y, of = pair(40, rows)
    order = np.random.default_rng(1).permutation(len(y))
    texts = "captions" if name.startswith("caption") else "text_embeds"
    np.savez(
        tmp_path / "a.npz", **{"image_embeds": x, texts: y[order], name: of[order] + first, "label": np.arange(40) % 4}
    )
    es, said = load_aloud(tmp_path / "a.npz")
    if max(of) == 39 and (min(of) == 0 or not first):  # else it cannot be told where they begin
        assert wb.diagnose(es, only=["recall_at_1"]).value("recall_at_1", texts, "image_embeds") == recall(x, y, of)
        assert any(name in line for line in said)
        assert es.items["label"].tolist() == (np.arange(40) % 4).tolist()


def test_classes_are_no_places(tmp_path: Path) -> None:
    x, y, _ = pair()
    np.savez(tmp_path / "a.npz", image=x, text=y, label=np.arange(40) % 5, index=np.arange(40)[::-1])
    es = load(tmp_path / "a.npz")
    assert {"label", "index"} <= {*es.items}
    assert told(es) == recall(x, y, np.arange(40))


def test_arrays_of_two_lengths_are_joined_by_what_they_hold(tmp_path: Path) -> None:
    x, y, of = pair(40, 90)
    ids = np.array([f"p{i:03d}" for i in range(40)])
    order = np.random.default_rng(1).permutation(90)
    of = np.concatenate([np.arange(40), of[:50]])
    y = x[of] + (y - x[pair(40, 90)[2]])
    np.savez(tmp_path / "a.npz", image=x, text=y[order], image_ids=ids, caption_image_ids=ids[of][order])
    assert told(load(tmp_path / "a.npz")) == recall(x, y, of)
    np.savez(tmp_path / "b.npz", image=x, text=y[order], label=np.arange(40), other=np.arange(90) % 3)
    with pytest.raises(InputError, match="no column of one names the rows of the other"):
        load(tmp_path / "b.npz")


@pytest.mark.parametrize("spelt", ["{m} ({k})", "{m}_{k}"])
def test_shards_cut_at_other_rows_are_put_together(tmp_path: Path, spelt: str) -> None:
    x, y, of = pair(60)
    for k in range(6):
        np.save(tmp_path / f"{spelt.format(m='image', k=k + 1)}.npy", x[10 * k : 10 * k + 10])
    for k in range(4):
        np.save(tmp_path / f"{spelt.format(m='text', k=k + 1)}.npy", y[15 * k : 15 * k + 15])
    es, said = load_aloud(tmp_path)
    assert told(es) == recall(x, y, of)
    assert "cut at other rows" in said[0]
    (tmp_path / f"{spelt.format(m='text', k=2)}.npy").unlink()
    with pytest.raises(InputError, match="lacks shard 2"):
        load(tmp_path)


@pytest.mark.parametrize("column", ["modality", "kind"])
def test_a_long_table_is_split_up_by_modality(tmp_path: Path, column: str) -> None:
    x, y, of = pair(40, 60)
    z = np.concatenate([x, y])
    frame = pd.DataFrame({"pk": range(100), "item_id": [f"i{k:02d}" for k in [*range(40), *of]],
                          column: ["image"] * 40 + ["text"] * 60, "embedding": list(z),
                          "colour": [f"c{k % 3}" for k in [*range(40), *of]]})  # fmt: skip
    frame = frame.sample(frac=1, random_state=0)
    frame.to_parquet(tmp_path / "a.parquet", index=False)
    es = load(tmp_path / "a.parquet")
    assert len(es) == 40
    assert told(es) == recall(x, y, of)
    assert column not in es.items
    frame.drop(columns=["item_id", "pk"]).to_parquet(tmp_path / "b.parquet", index=False)
    with pytest.raises(InputError, match="say which rows are one item: --item"):
        load(tmp_path / "b.parquet")
    twice = pd.concat([frame, frame.assign(embedding=[v + 0.1 for v in frame["embedding"]])])
    twice.to_parquet(tmp_path / "c.parquet", index=False)
    assert len(read(tmp_path / "c.parquet", Reading(item="item_id"))) == 40


@pytest.mark.parametrize("hole", ["", "\\N", "NULL"])
def test_a_long_table_may_lack_a_vector(tmp_path: Path, hole: str) -> None:
    x, y, of = pair(40, 60)
    rows = [(f"i{k:02d}", "image", str(v.tolist())) for k, v in enumerate(x)]
    rows += [(f"i{k:02d}", "text", str(v.tolist())) for k, v in zip(of, y, strict=True)]
    rows[3] = (*rows[3][:2], hole)
    pd.DataFrame(rows, columns=["item", "modality", "embedding"]).to_csv(tmp_path / "a.csv", index=False)
    es = load(tmp_path / "a.csv")
    assert (len(es["image"]), len(es["text"]), len(es)) == (39, 60, 40)


@pytest.mark.parametrize("kind", ["npz", "pt", "safetensors", "h5"])
@pytest.mark.parametrize("names", [("rank_0", "rank_1"), ("train", "test")])
def test_files_of_arrays_in_a_folder_follow_each_other(tmp_path: Path, kind: str, names: tuple[str, str]) -> None:
    x, y, of = pair(40)
    for name, at in zip(names, (slice(0, 30), slice(30, 40)), strict=True):
        held = {"image": x[at], "text": y[at], "sample": of[at]}
        file = tmp_path / f"{name}.{kind}"
        if kind == "npz":
            np.savez(file, **held)
        elif kind == "pt":
            torch.save({k: torch.from_numpy(v) for k, v in held.items()}, file)
        elif kind == "safetensors":
            save_file({k: np.ascontiguousarray(v) for k, v in held.items()}, str(file))
        else:
            with h5py.File(file, "w") as f:
                for k, v in held.items():
                    f[k] = v
    es, said = load_aloud(tmp_path)
    assert told(es) == recall(x, y, of)
    assert ("split" in es.items) == (names[0] == "train")
    assert "2 files of the same arrays follow each other" in said[0]


def test_a_folder_of_a_dictionary_a_modality_is_joined_by_the_names(tmp_path: Path) -> None:
    x, y, of = pair(40)
    torch.save({f"p{k:02d}.jpg": torch.from_numpy(v) for k, v in enumerate(x)}, tmp_path / "image.pt")
    order = np.random.default_rng(0).permutation(40)
    torch.save({f"p{k:02d}.txt": torch.from_numpy(y[k]) for k in order}, tmp_path / "text.pt")
    assert told(load(tmp_path)) == recall(x, y, of)


def test_named_vectors_of_a_point_are_modalities(tmp_path: Path) -> None:
    x, y, of = pair(40)
    lines = [{"id": k, "vector": {"image": x[k].tolist(), "text": y[k].tolist()}} for k in range(40)]
    del lines[7]["vector"]["text"]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    es = load(tmp_path / "a.jsonl")
    assert es.modalities == ("vector.image", "vector.text")
    assert len(es["vector.text"]) == 39


def test_a_table_beside_those_of_a_folder_is_joined_or_named(tmp_path: Path) -> None:
    x, y, of = pair(40, 60)
    of = np.concatenate([np.arange(40), of[:20]])
    y = x[of] + 0.2 * y
    pd.DataFrame({"file": [f"p{k:03d}.jpg" for k in range(40)], "feat": list(x)}).to_parquet(
        tmp_path / "images.parquet"
    )
    texts = pd.DataFrame({"img": [f"p{k:03d}" for k in of], "feat": [str(v.tolist()) for v in y]})
    texts.sample(frac=1, random_state=0).to_csv(tmp_path / "captions.csv", index=False)
    es = load(tmp_path)
    assert wb.diagnose(es, only=["recall_at_1"]).value("recall_at_1", "captions", "images") == recall(x, y, of)
    texts[texts["img"] != "p004"].to_csv(tmp_path / "captions.csv", index=False)
    with pytest.raises(InputError, match="captions.csv lacks file 'p004.jpg'"):
        load(tmp_path)
    pd.DataFrame({"step": range(7)}).to_csv(tmp_path / "captions.csv", index=False)
    es, said = load_aloud(tmp_path)
    assert es.modalities == ("feat",)
    assert any("captions.csv beside it is left out" in line for line in said)


def test_shards_without_rows_or_values_follow_those_that_have_them(tmp_path: Path) -> None:
    x, y, of = pair(40)
    for k, at in enumerate((slice(0, 20), slice(20, 40))):
        held = {"image": pa.array(list(x[at])), "text": pa.array(list(y[at]))}
        held["kind"] = pa.nulls(20) if k else pa.array(np.arange(20) % 3)
        pq.write_table(pa.table(held if not k else dict(reversed(held.items()))), tmp_path / f"part-{k}.parquet")
    pd.DataFrame({"image": [], "text": [], "kind": []}).to_parquet(tmp_path / "part-2.parquet")
    es = load(tmp_path)
    assert told(es) == recall(x, y, of)
    assert es.items["kind"].isna().sum() == 20
    pq.write_table(pa.table({"image": list(x), "txt": list(y)}), tmp_path / "part-3.parquet")
    with pytest.raises(InputError, match=r"other columns than part-0.parquet \(kind, text, txt"):
        load(tmp_path)
    (tmp_path / "part-3.parquet").write_bytes(b"")
    with pytest.raises(InputError, match="empty, not one byte"):
        load(tmp_path)


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")  # of the library that writes the file
@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_cells_of_two_batches_are_told_apart_by_two_columns(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    x, y, of = pair(40)
    with pd.option_context("future.infer_string", False):
        obs = pd.DataFrame(index=pd.Index([f"c{k % 20}" for k in range(40)], dtype=object))
        obs["batch"] = pd.Categorical(["a"] * 20 + ["b"] * 20)
        frame = pd.DataFrame(y, index=obs.index, columns=pd.Index([f"d{k}" for k in range(16)], dtype=object))
        anndata.AnnData(obs=obs, obsm={"X_image": x, "X_text": frame}).write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(InputError, match="--id batch,id"):
        load(tmp_path / "a.h5ad")
    es = read(tmp_path / "a.h5ad", Reading(id="batch,id"))
    assert es.items["id"][20] == "b/c0"
    assert told(es) == recall(x, y, of)
    done = run("diagnose", tmp_path / "a.h5ad", "--id", "batch,id", "--only", "recall_at_1")
    assert f"{recall(x, y, of):.3f}" in done.stdout


def test_rows_that_a_sampler_pads_are_named_with_the_column_that_counts_them_once(tmp_path: Path) -> None:
    x, y, _ = pair(40)
    order = [*range(40), 0, 1, 2]
    frame = pd.DataFrame({"sample_idx": order, "image": list(x[order]), "text": list(y[order])})
    frame.to_parquet(tmp_path / "a.parquet")
    assert any("3 rows are there again" in line for line in wb.sets.formats.ids.repeated(load(tmp_path / "a.parquet")))


def test_views_of_lists_and_classes_that_are_null_are_read(tmp_path: Path) -> None:
    x, y, of = pair(40)
    texts = [v.tolist() if k != 3 else None for k, v in enumerate(y)]
    kinds = pa.DictionaryArray.from_arrays(pa.array([k % 3 for k in range(40)]), pa.array(["a", None, "b"]))
    held = {"image": list(x), "text": pa.array(texts, pa.list_view(pa.float64())), "kind": kinds}
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as f, pa.ipc.new_file(f, (t := pa.table(held)).schema) as out:
        out.write_table(t, max_chunksize=16)
    es = load(tmp_path / "a.arrow")
    assert len(es["text"]) == 39
    assert told(es) == pytest.approx(recall(x, y, of), abs=0.06)
    assert es.items["kind"].isna().sum() == 13


def test_ids_that_come_again_in_another_split_are_named_with_the_way_out(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    x, y, of = pair(40)
    for ids in (range(25), range(3, 28)):
        rows = {"train": (ids, slice(0, 25)), "validation": (range(15), slice(25, 40))}
        made = {
            s: datasets.Dataset.from_dict({"id": list(i), "image": x[at].tolist(), "text": y[at].tolist()})
            for s, (i, at) in rows.items()
        }
        datasets.DatasetDict(made).save_to_disk(str(tmp_path / f"d{ids[0]}"))
    assert load(tmp_path / "d0").items["id"][25] == "validation/0"
    with pytest.raises(InputError, match="is in train and in validation .* tell them apart: --id split,id"):
        load(tmp_path / "d3")
    assert told(read(tmp_path / "d3", Reading(id="split,id"))) == recall(x, y, of)


def test_packed_and_cut_files_say_what_to_do(tmp_path: Path) -> None:
    x, y, _ = pair(5)
    lines = [json.dumps({"image": x[k].tolist(), "text": y[k].tolist()}) for k in range(5)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines)[:-40])
    with pytest.raises(InputError, match="line 5, the last, cut short: take it away"):
        load(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    with pytest.raises(InputError, match="compressed; unpack it first"):
        load(tmp_path / "a.jsonl.gz")


def test_items_that_count_from_nought_in_each_split_are_not_made_one(tmp_path: Path) -> None:
    for split, seed, items in (("train", 0, 30), ("val", 1, 20)):
        x, y, of = pair(items, 3 * items, seed)
        frame = pd.DataFrame({"image_id": of, "image_embedding": list(x[of]), "text_embedding": list(y)})
        frame.to_parquet(tmp_path / f"{split}.parquet")
    held = sum(len(np.unique(pair(n, 3 * n, s)[2])) for s, n in ((0, 30), (1, 20)))
    with pytest.raises(InputError, match=r"image_id '\d+' is in train and in validation; .* --item split,image_id"):
        read(tmp_path, Reading(item="image_id"))
    assert len(read(tmp_path, Reading(item="split,image_id"))) == held
    hint = run("diagnose", tmp_path, "--only", "recall_at_1").stdout
    assert f"--item split,image_id makes {held} items" in hint


def test_packed_bits_in_one_value_are_unpacked(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (30, 32)).astype(np.uint8)
    packed = [row.tobytes() for row in np.packbits(bits, axis=1)]
    for named, reading in (("image_binary", Reading()), ("image_b", Reading(bits=("image_b",)))):
        pd.DataFrame({named: packed, "text_embedding": list(bits + 0.5)}).to_parquet(tmp_path / "a.parquet")
        assert np.array_equal(read(tmp_path / "a.parquet", reading)[named].numpy(), bits * 2.0 - 1)


def test_a_number_that_is_missing_among_columns_of_one_vector_has_a_way_out(tmp_path: Path) -> None:
    x, y, _ = pair(30)
    frame = pd.DataFrame({f"image_{k}": x[:, k] for k in range(16)} | {f"text_{k}": y[:, k] for k in range(16)})
    frame.loc[7, "image_3"] = None
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InputError, match="'image' has NaN at row 7, dimension 3 .*--drop-missing"):
        load(tmp_path / "a.csv")
    assert len(read(tmp_path / "a.csv", Reading(drop_missing=True))["image"]) == 29


def test_quantised_rows_of_two_lengths_are_joined_by_their_ids(tmp_path: Path) -> None:
    x, _, _ = pair(40)
    of = np.sort(np.arange(100) % 40)  # every picture has a text
    y = x[of]
    scale, zero = np.abs(x).max(0) / 100, np.arange(16.0)
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["image"], f["image_scale"], f["image_zero_point"] = np.round(x / scale + zero).astype(np.int8), scale, zero
        f["image_ids"], f["text"], f["text_ids"], f["boxes"] = np.arange(40) + 7, y, of + 7, np.ones((40, 4))
    es = load(tmp_path / "a.h5")
    assert np.abs(es["image"].numpy() - x).max() <= scale.max()
    assert es.item_of_row("text").tolist() == of.tolist()


def test_ids_that_one_array_of_a_file_lacks_are_refused_unless_they_may_be_missing(tmp_path: Path) -> None:
    x, y, of = pair(40, 100)
    kept = of != of[0]
    np.savez(tmp_path / "a.npz", image=x, image_ids=np.arange(40) + 7, text=y[kept], text_ids=of[kept] + 7)
    with pytest.raises(InputError, match=r"lacks image_ids '\d+' .*--drop-missing"):
        load(tmp_path / "a.npz")
    es = read(tmp_path / "a.npz", Reading(drop_missing=True))
    assert (len(es), len(es["text"])) == (40, int(kept.sum()))
