"""Parts that belong together: members of a .tar file, numbered shards, tables beside vectors, named splits."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.commands import run
from workbench.errors import InputError
from workbench.sets.formats import Reading, import_set, load
from workbench.sets.formats.shards import grouped, splits

N, D = 12, 6
X, Y = np.random.default_rng(5).normal(size=(2, N, D)).astype("f4")
BOTH = (("image", X), ("text", Y))


def tar(path, members):
    with tarfile.open(path, "w") as t:
        for name, x in members:
            raw = io.BytesIO()
            np.save(raw, x)
            info = tarfile.TarInfo(name)
            info.size = raw.tell()
            t.addfile(info, io.BytesIO(raw.getvalue()))
    return path


def paired(es, count=N):
    """Whether rows of both modalities are those of one item, whatever the order of the items."""
    assert len(es) == count
    place = [int(np.flatnonzero((row == X).all(1))[0]) for row in es["image"].numpy()]
    assert sorted(place) == list(range(count))
    assert np.array_equal(es["text"].numpy(), Y[place])
    return place


# -- tar ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "{i:03d}",
        "scan.{i:03d}",
        "v1.5.{i}",
        "deep/er/{i}",
        "a.b.c.{i:04d}",
        "photo.{w}",
        "x{i}.{i}",
    ],
)
@pytest.mark.parametrize("order", ["together", "apart", "reversed"])
def test_members_find_their_item_whatever_its_name_and_order(tmp_path, name, order):
    stems = [name.format(i=i, w="abcdefghijkl"[i]) for i in range(N)]
    members = [(f"{s}.{m}.npy", A[i]) for i, s in enumerate(stems) for m, A in BOTH]
    if order == "apart":
        members.sort(key=lambda pair: "text" in pair[0])
    paired(load(tar(tmp_path / "s.tar", members[::-1] if order == "reversed" else members)))


def test_folders_tell_items_apart_and_a_modality_may_be_rare(tmp_path):
    names = [f"{folder}/{i}" for folder in "ab" for i in range(6)]
    members = [(f"{s}.{m}.npy", A[i]) for i, s in enumerate(names) for m, A in BOTH]
    es = load(tar(tmp_path / "s.tar", [*members, ("a/3.depth.npy", X[0])]))
    assert es.items["id"].tolist() == names
    assert es.item_of_row("depth").tolist() == [3]
    paired(es)


def test_parts_of_an_item_may_lie_in_two_shards(tmp_path):
    for m, A in BOTH:
        tar(tmp_path / f"{m}.tar", [(f"{i}.{m}.npy", A[i]) for i in range(N)])
    paired(load(tmp_path))


def test_a_second_member_for_the_same_part_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"item '0' has \.image\.npy twice"):
        load(tar(tmp_path / "s.tar", [("0.image.npy", X[0]), ("1.image.npy", X[1]), ("0.image.npy", X[2])]))
    (tmp_path / "two").mkdir()
    for k in (0, 1):
        tar(tmp_path / "two" / f"{k}.tar", [(f"{i}.image.npy", X[i]) for i in range(3)])
    with pytest.raises(InputError, match=r"also in 0\.tar"):
        load(tmp_path / "two")


# -- shards ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["emb_{}", "emb-{:05d}", "emb.{}", "{:03d}", "emb{:02d}", "emb-{:05d}-of-00012"])
def test_numbered_arrays_are_one_modality_in_the_order_of_their_numbers(tmp_path, form):
    for k in range(N):
        np.save(tmp_path / f"{form.format(k)}.npy", X[k : k + 1])
    es = load(tmp_path)
    assert len(es.modalities) == 1
    assert np.array_equal(es[es.modalities[0]].numpy(), X)


def test_names_that_end_in_a_number_are_not_always_shards(tmp_path):
    for name in ("resnet_50", "resnet_101"):
        np.save(tmp_path / f"{name}.npy", X)
    assert set(load(tmp_path).modalities) == {"resnet_50", "resnet_101"}
    assert list(grouped([tmp_path / "image_0.npy", tmp_path / "image_1.npy", tmp_path / "ids.npy"])) == ["image", "ids"]


def shards(folder, which, tables=(0, 1, 2), rows=4):
    for m, A in BOTH:
        for k in which[m]:
            np.save(folder / f"{m}_{k:02d}.npy", A[k * rows : k * rows + rows])
    for k in tables:
        pd.DataFrame({"n": np.arange(rows) + k * rows}).to_parquet(folder / f"part-{k:04d}.parquet")


def test_shards_of_arrays_and_of_tables_are_matched_by_number(tmp_path):
    shards(tmp_path, {"image": (0, 1, 2), "text": (0, 1, 2)})
    es = load(tmp_path)
    assert es.items["n"].tolist() == paired(es)
    files = [*sorted(tmp_path.glob("*.parquet")), *sorted(tmp_path.glob("*.npy"))]
    es, _ = import_set(files, tmp_path / "set")
    assert es.items["n"].tolist() == paired(es)


@pytest.mark.parametrize(
    ("image", "text", "tables", "says"),
    [
        ((0, 2), (0, 1), (), "image lacks shard 1"),
        ((0, 1, 2), (0, 1), (), "text lacks shard 2"),
        ((0, 1, 2), (0, 1, 2), (0, 2), "part lacks shard 1"),
        ((1, 2), (0, 1, 2), (), "image lacks shard 0"),
    ],
)
def test_a_shard_that_only_some_have_is_named(tmp_path, image, text, tables, says):
    shards(tmp_path, {"image": image, "text": text}, tables)
    with pytest.raises(InputError, match=says):
        load(tmp_path)


def test_shards_of_one_number_need_as_many_rows(tmp_path):
    for m, A, cut in (("image", X, 5), ("text", Y, 7)):
        np.save(tmp_path / f"{m}_0.npy", A[:cut])
        np.save(tmp_path / f"{m}_1.npy", A[cut:])
    with pytest.raises(InputError, match="shard 0 of text has 7 rows, that of image 5"):
        load(tmp_path)


def test_a_gap_that_all_have_is_said(tmp_path):
    for k in (0, 2):
        np.save(tmp_path / f"emb_{k}.npy", X[k : k + 1])
    _, said = import_set([tmp_path], tmp_path.parent / "set")
    assert "emb lacks shard 1; the 2 that are there are read" in said


def test_a_table_that_is_of_something_else_is_left_out_and_said(tmp_path):
    np.save(tmp_path / "image.npy", X)
    pd.DataFrame({"epoch": [1, 2]}).to_csv(tmp_path / "log.csv", index=False)
    es, said = import_set([tmp_path], tmp_path.parent / "set2")
    assert list(es.items) == ["id"]
    assert "log.csv is left out: 2 rows for 12 items" in said


# -- tables beside vectors ---------------------------------------------------------------------------------------------

IDS = [f"k{i}" for i in range(N)]


@pytest.fixture
def beside(tmp_path):
    """A function that imports image.npy with tables beside it."""
    np.save(tmp_path / "image.npy", X)

    def made(*frames, **arrays):
        files = [tmp_path / "image.npy"]
        for name, frame in zip("abc", frames, strict=False):
            files.append(tmp_path / f"{name}.csv")
            pd.DataFrame(frame).to_csv(files[-1], index=False)
        for name, x in arrays.items():
            files.append(tmp_path / f"{name}.npy")
            np.save(files[-1], x)
        return import_set(files, tmp_path / "set")

    return made


def test_tables_join_by_id_where_both_have_one_and_say_so(beside):
    es, said = beside({"id": IDS, "n": range(N)}, {"id": IDS[::-1], "m": range(N)[::-1]})
    assert es.items["n"].tolist() == es.items["m"].tolist()
    assert "a.csv is joined by row order" in said
    assert "b.csv is joined to a.csv by id" in said
    es, said = beside({"uid": IDS, "n": range(N)}, {"uid": ["more", *IDS[::-1]], "m": [99, *range(N)[::-1]]})
    assert es.items["n"].tolist() == es.items["m"].tolist()
    assert any("1 rows more" in line for line in said)


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ({"n": range(N)}, {"m": range(N + 1)}, r"b\.csv has 13 rows but a\.csv has 12"),
        ({"n": range(N)}, {"m": range(N - 1)}, r"b\.csv has 11 rows but a\.csv has 12"),
        ({"n": range(N + 1)}, {}, r"a\.csv has 13 rows but image\.npy has 12"),
        ({"n": range(N)}, {"n": range(1, N + 1)}, "column 'n' is in a.csv and in b.csv, with other values at row 0"),
        ({"id": IDS}, {"id": [*IDS[:-1], "z"], "m": range(N)}, r"b\.csv lacks id 'k11' of a\.csv"),
        ({"id": IDS}, {"id": [*IDS[:-1], "k0"], "m": range(N)}, r"b\.csv: column 'id' has 'k0' twice"),
        ({"id": [None, *IDS[1:]], "m": range(N)}, {"id": IDS}, r"a\.csv: column 'id', which joins it, is empty"),
    ],
)
def test_tables_that_do_not_fit_are_refused_with_their_names(beside, first, second, says):
    with pytest.raises(InputError, match=says):
        beside(first, *([second] if second else []))


def test_arrays_of_columns_are_counted_too(beside):
    with pytest.raises(InputError, match=r"labels\.npy has 11 rows but a\.csv has 12"):
        beside({"n": range(N)}, labels=np.arange(N - 1))
    es, _ = beside({"n": range(N)}, labels=np.arange(N))
    assert es.items["labels"].tolist() == list(range(N))
    es, _ = beside({"n": range(N)}, {"n": range(N), "m": range(N)})
    assert list(es.items) == ["id", "n", "m"], "equal columns of one name are one"


def test_tables_of_one_modality_each_are_joined_by_id(tmp_path):
    for m, A, ids in (("image", X, IDS), ("text", Y[::-1], IDS[::-1])):
        pq.write_table(pa.table({"id": ids, "embedding": A.tolist()}), tmp_path / f"{m}.parquet")
    es, said = import_set([tmp_path / "image.parquet", tmp_path / "text.parquet"], tmp_path / "set")
    assert np.allclose(es["image"], X)
    assert np.allclose(es["text"], Y)
    assert "text.parquet is joined to image.parquet by id" in said


# -- splits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stems", "want"),
    [
        (["train", "val", "test"], ["train", "validation", "test"]),
        (["training", "dev", "testing"], ["train", "validation", "test"]),
        (["train-00000-of-00002", "train-00001-of-00002", "valid-00000-of-00001"], ["train", "train", "validation"]),
        (["coco_train", "coco_eval"], ["train", "validation"]),
        (["a", "b"], None),
    ],
)
def test_files_that_are_named_as_splits_keep_them(tmp_path, stems, want):
    for stem in stems:
        pq.write_table(pa.table({"image": X.tolist()}), tmp_path / f"{stem}.parquet")
    es = load(tmp_path)
    found = [es.items["split"][N * k] for k in range(len(stems))] if "split" in es.items else None
    assert (None if found is None else sorted(found)) == (None if want is None else sorted(want))


def test_a_split_that_is_not_known_is_asked_for(tmp_path):
    for stem in ("train", "restval"):
        pq.write_table(pa.table({"image": X.tolist()}), tmp_path / f"{stem}.parquet")
    with pytest.raises(InputError, match="--split-map restval=train"):
        load(tmp_path)
    es, _ = import_set([tmp_path], tmp_path.parent / "made", Reading(split_map={"restval": "train"}))
    assert set(es.items["split"]) == {"train"}
    out = str(tmp_path.parent / "cli")
    assert run("import", str(tmp_path), "-o", out, "--split-map", "restval=validation").returncode == 0
    assert splits(["only"]) is None


def test_arrays_that_are_named_as_splits_are_no_modalities(tmp_path):
    for m, A in BOTH:
        for split, cut in (("train", slice(0, 6)), ("val", slice(6, 8)), ("test", slice(8, N))):
            np.save(tmp_path / f"{m}_{split}.npy", A[cut])
    for es in (load(tmp_path), import_set(sorted(tmp_path.glob("*.npy")), tmp_path.parent / "set3")[0]):
        assert paired(es) == list(range(N))
        assert es.items["split"].tolist() == ["train"] * 6 + ["validation"] * 2 + ["test"] * 4
    (tmp_path / "text_val.npy").unlink()
    with pytest.raises(InputError, match="text lacks the split val, which image has"):
        load(tmp_path)
    (tmp_path / "plain").mkdir()
    for split in ("train", "test"):
        np.save(tmp_path / "plain" / f"{split}.npy", X)
    assert load(tmp_path / "plain").modalities == ("vectors",)


def test_a_caption_beside_the_vectors_of_texts_is_kept(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as t:
        for i in range(4):
            for end in ("txt", "text.npy", "image.npy", "jpg", "json"):
                raw = io.BytesIO()
                if end.endswith("npy"):
                    if (i, end) == (2, "text.npy"):
                        continue
                    np.save(raw, X[i])
                else:
                    raw.write(b'{"text": "of json"}' if end == "json" else f"{end} {i}".encode())
                info = tarfile.TarInfo(f"{i}.{end}")
                info.size = raw.tell()
                t.addfile(info, io.BytesIO(raw.getvalue()))
    es = load(tmp_path / "s.tar")
    assert es.item_of_row("text").tolist() == [0, 1, 3]
    assert es.items["caption"].tolist() == [f"txt {i}" for i in range(4)]
    assert es.items["picture"].tolist() == [f"jpg {i}".encode() for i in range(4)]
    assert es.items["text_json"].tolist() == ["of json"] * 4


def test_whole_ids_join_decimal_ones(tmp_path):
    pd.DataFrame({"id": [1.0, 2.0], "a": [1, 2]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"id": [2, 1], "b": [2, 1], "emb": [[0.1] * 4, [0.2] * 4]}).to_parquet(tmp_path / "b.parquet")
    es, _ = import_set([tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "set")
    assert es.items["a"].tolist() == es.items["b"].tolist() == [1, 2]


@pytest.mark.parametrize("name", ["rank{}", "feats_rank{}", "shard{}", "embPart{}", "gpu{}"])
def test_words_that_count_parts_need_no_mark_before_the_number(tmp_path, name):
    x = np.random.default_rng(0).standard_normal((24, 8)).astype("f4")
    for k in range(12):
        at = slice(2 * k, 2 * k + 2)
        np.savez(tmp_path / f"{name.format(k)}.npz", image=x[at], text=x[at] + 1)
    es = load(tmp_path)
    assert es.modalities == ("image", "text")
    assert np.array_equal(es["image"].numpy(), x)
