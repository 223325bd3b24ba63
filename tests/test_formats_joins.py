"""Files side by side: which rows belong together is told by what their columns hold, or refused."""

import json
import tarfile
import unicodedata
from io import BytesIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.commands import run
from workbench.errors import InputError
from workbench.sets.formats import Reading, load, load_aloud
from workbench.sets.formats.bring_in import load_together
from workbench.sets.formats.keys import stem

N, D = 24, 16
draw = np.random.default_rng(0)
X = draw.standard_normal((N, D)).astype("f4")
Y = (X + 0.1 * draw.standard_normal((N, D))).astype("f4")
ORDER = draw.permutation(N)
IDS = [f"p{k:03d}" for k in range(N)]
OWN = np.repeat(np.arange(N), 5)[draw.permutation(5 * N)]  # the picture of each of five captions
TEXTS = (X[OWN] + 0.1 * draw.standard_normal((5 * N, D))).astype("f4")
PATHS = [f"{i}.jpg" for i in IDS]


def shuffled(values):
    return [values[k] for k in ORDER]


def recall(es):
    """Share of texts whose picture is the nearest, from loops over the rows."""
    item = es.item_of_row("image").tolist()
    hits = 0
    for y, i in zip(es["text"].numpy(), es.item_of_row("text").tolist(), strict=True):
        cosines = [float(x @ y) / float(np.linalg.norm(x)) for x in es["image"].numpy()]
        hits += item[int(np.argmax(cosines))] == i
    return hits / len(es["text"])


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A function that writes tables as Parquet: name → columns; gives the paths."""
    monkeypatch.chdir(tmp_path)

    def write(**tables):
        for name, columns in tables.items():
            held = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in columns.items()}
            pq.write_table(pa.table(held), f"{name}.parquet")
        return [tmp_path / f"{name}.parquet" for name in tables]

    return write


RIGHT = {
    "an id and an image_id": ({"id": IDS}, {"image_id": shuffled(IDS)}, "by id = image_id"),
    "paths under any name": ({"img_path": PATHS}, {"img_path": shuffled(PATHS)}, "by img_path"),
    "paths under two names": ({"a": PATHS}, {"b": shuffled(PATHS)}, "by a = b"),
    "stems": ({"path": [f"a/{p}" for p in PATHS]}, {"file": shuffled(IDS)}, "without folders and endings"),
    "zeros before": ({"filename": [f"{k:06d}.jpg" for k in range(N)]}, {"image_id": ORDER}, "filename = image_id"),
    "numbers": ({"id": np.arange(N)}, {"image_id": ORDER}, "by id = image_id"),
    "numbers of the rows": (
        {"id": np.arange(N), "path": PATHS},
        {"id": np.arange(N), "path": shuffled(PATHS)},
        "joined to image.parquet by path",
    ),
    "a count of the rows beside names that end in numbers": (
        {"id": np.arange(N), "image_id": IDS},
        {"id": np.arange(N), "image_id": shuffled(IDS)},
        "by image_id",
    ),
    "numbers at the ends of names": (
        {"image_id": 7 * np.arange(N) + 12},
        {"file_name": [f"COCO_val2014_{7 * k + 12:012d}.jpg" for k in ORDER]},
        "the numbers at their ends",
    ),
    "one folder of two": (
        {"path": [f"data/{'cat' if k % 2 else 'dog'}/{k // 2}.jpg" for k in range(N)]},
        {"file": [f"{'cat' if k % 2 else 'dog'}/{k // 2}.txt" for k in ORDER]},
        "one folder",
    ),
    "capitals and addresses": (
        {"url": [f"https://x/{i}.jpg?w=300" for i in IDS]},
        {"sku": [i.upper() for i in shuffled(IDS)]},
        "without folders and endings",
    ),
    "dates": (
        {"date": pd.date_range("2024-01-01", periods=N)},
        {"day": [f"{d:%Y-%m-%d}" for d in pd.date_range("2024-01-01", periods=N)[ORDER]]},
        "by date = day",
    ),
    "accents": (
        {"id": [unicodedata.normalize("NFC", f"é{i}") for i in IDS]},
        {"id": [unicodedata.normalize("NFD", f"é{i}") for i in shuffled(IDS)]},
        "by id",
    ),
    "blanks around": ({"id": [f" {i}" for i in IDS]}, {"id": [f"{i} " for i in shuffled(IDS)]}, "by id"),
    "decimal ids": ({"id": np.arange(N) * 1.0}, {"uid": ORDER}, "by id = uid"),
}


@pytest.mark.parametrize("case", RIGHT)
def test_rows_in_another_order_are_joined_by_what_columns_hold(files, case):
    first, second, says = RIGHT[case]
    paths = files(image={**first, "embedding": X}, text={**second, "embedding": Y[ORDER]})
    for given in (paths, paths[::-1]):
        es, said = load_together(given)
        assert recall(es) == 1
        assert len(es) == N
    assert any(says in line for line in load_together(paths)[1]), said


ROWS = {
    "counts": ({"n_words": ORDER}, {"count": draw.permutation(N)}),
    "other names": ({"title": IDS}, {"author": [f"q{k}" for k in range(N)]}),
    "nothing": ({}, {}),
}


@pytest.mark.parametrize("case", ROWS)
def test_columns_that_name_nothing_in_common_leave_rows_in_their_order(files, case):
    first, second = ROWS[case]
    es, _ = load_together(files(image={**first, "embedding": X}, text={**second, "embedding": Y}))
    assert recall(es) == 1


REFUSED = {
    "equal in part": (
        {"id": IDS},
        {"image_id": [f"q{i}" if i < "p006" else i for i in shuffled(IDS)]},
        r"text\.parquet lacks id 'p000' of image\.parquet, where it is image_id \(6 of 24",
    ),
    "two keys": (
        {"id": ORDER, "path": IDS},
        {"id": np.arange(N), "path": shuffled(IDS)},
        "could be joined by .* or by",
    ),
    "twice in both": (
        {"image_id": np.repeat(np.arange(N // 2), 2)},
        {"image_id": np.repeat(np.arange(N // 2), 2)[ORDER]},
        "give both a column that names each row once",
    ),
    "one name, other labels": ({"label": ORDER}, {"label": ORDER[::-1]}, "column 'label' is in image.parquet"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_could_be_joined_in_two_ways_or_in_part_is_refused(files, case):
    first, second, says = REFUSED[case]
    with pytest.raises(InputError, match=says):
        load_together(files(image={**first, "embedding": X}, text={**second, "embedding": Y[ORDER]}))


def test_captions_are_rows_of_the_pictures_they_name_whatever_their_own_ids(files):
    pictures = {"id": np.arange(N), "file_name": [f"{k:012d}.jpg" for k in range(N)], "image": X}
    captions = {"id": np.arange(5 * N), "image_id": OWN, "caption": [f"c{k}" for k in range(5 * N)], "text": TEXTS}
    paths = files(images=pictures, captions=captions)
    for given in (paths, paths[::-1]):
        es, said = load_together(given)
        assert (len(es), len(es["text"]), recall(es)) == (N, 5 * N, 1)
        assert es.items["id"].tolist() == [str(k) for k in range(N)]
        assert any("captions.parquet is joined to images.parquet by id = image_id: 5 rows an item" in s for s in said)
    numbered = {"caption_id": [f"{PATHS[o]}#{k}" for k, o in enumerate(OWN)], "text": TEXTS}
    es, _ = load_together(files(images={"image": PATHS, "image_emb": X}, captions=numbered))
    assert (len(es), recall(es)) == (N, 1)


def test_a_file_of_pictures_and_captions_joins_the_arrays_of_both(files, tmp_path):
    np.save("image.npy", X)
    np.save("text.npy", TEXTS)
    images = [{"id": 7 * k + 3, "file_name": p} for k, p in enumerate(PATHS)]
    captions = [{"id": k, "image_id": 7 * int(o) + 3, "caption": f"c{k}"} for k, o in enumerate(OWN)]
    whole = {"info": {"year": 2017}, "licenses": [{"id": 1}], "images": images, "annotations": captions}
    (tmp_path / "captions.json").write_text(json.dumps(whole))
    es, _ = load_together([tmp_path / n for n in ("image.npy", "text.npy", "captions.json")])
    assert (len(es), len(es["text"]), recall(es)) == (N, 5 * N, 1)
    assert es.items["file_name"].tolist() == PATHS
    with pytest.raises(InputError, match="several tables, .*images.* name the files of their vectors"):
        load(tmp_path / "captions.json")


def test_three_tables_are_joined_through_the_one_that_names_both(files):
    pictures, sounds = {"image_id": IDS, "image": X}, {"text_id": [f"t{k}" for k in range(N)], "audio": Y}
    texts = {"text_id": [f"t{k}" for k in ORDER], "image_id": shuffled(IDS), "text": Y[ORDER]}
    es, _ = load_together(files(a=pictures, b=texts, c=sounds))
    assert recall(es) == 1
    assert torch.equal(es["audio"], es["text"])


def test_arrays_go_with_the_table_that_has_no_vectors_of_its_own(files, tmp_path):
    np.save("image.npy", X)
    pd.DataFrame({"path": PATHS, "n": range(N)}).to_csv("meta.csv", index=False)
    (texts,) = files(text={"path": shuffled(PATHS), "embedding": Y[ORDER]})
    es, _ = load_together([tmp_path / "image.npy", texts, tmp_path / "meta.csv"])
    assert recall(es) == 1


def two_torch(folder):
    torch.save({f"img/{i}.jpg": torch.from_numpy(x) for i, x in zip(IDS, X, strict=True)}, folder / "image.pt")
    torch.save({f"cap/{IDS[k]}.txt": torch.from_numpy(Y[k]) for k in ORDER}, folder / "text.pt")
    return [folder / "image.pt", folder / "text.pt"]


def two_npz(folder):
    np.savez(folder / "image.npz", **dict(zip(IDS, X, strict=True)))
    np.savez(folder / "text.npz", embeddings=Y[ORDER], ids=np.array(shuffled(IDS)))
    return [folder / "image.npz", folder / "text.npz"]


def two_accents(folder):
    spelt = {how: [unicodedata.normalize(how, f"é{k}") for k in range(N)] for how in ("NFC", "NFD")}
    pairs = {"image": zip(spelt["NFC"], torch.from_numpy(X), strict=True),
             "text": zip(spelt["NFD"], torch.from_numpy(Y), strict=True)}  # fmt: skip
    torch.save({m: dict(p) for m, p in pairs.items()}, folder / "both.pt")
    return [folder / "both.pt"]


def two_tars(folder):
    made = []
    for k, part in enumerate((range(10), range(10, N))):
        made.append(folder / f"part-{k:03d}.tar")
        with tarfile.open(made[-1], "w") as t:
            for i in part:
                for m, A in (("image", X), ("text", Y)):
                    raw = BytesIO()
                    np.save(raw, A[i])
                    info = tarfile.TarInfo(f"{IDS[i]}.{m}.npy")
                    info.size = raw.tell()
                    t.addfile(info, BytesIO(raw.getvalue()))
    return made


@pytest.mark.parametrize("make", [two_torch, two_npz, two_accents, two_tars])
def test_files_of_a_vector_by_name_are_joined_by_the_names(tmp_path, make):
    es, _ = load_together(make(tmp_path))
    assert (len(es), es.modalities, recall(es)) == (N, ("image", "text"), 1)


def test_ids_that_count_the_rows_of_each_file_are_told_apart_and_others_refused(files):
    half = [{"id": np.arange(12), "image": X[s], "text": Y[s]} for s in (slice(0, 12), slice(12, N))]
    es, said = load_together(files(train=half[0], val=half[1]))
    assert es.items["id"].tolist()[:2] == ["train/0", "train/1"]
    assert es.items["id"].tolist()[-1] == "val/11"
    assert "ids count the rows of each file: the first is called train/0" in said
    half[0]["id"], half[1]["id"] = IDS[:12], IDS[11:23]
    paths = files(train=half[0], val=half[1])
    with pytest.raises(InputError, match=r"id 'p011' is in train\.parquet and in val\.parquet \(1 such\)"):
        load_together(paths)
    with pytest.raises(InputError, match="id 'p011' is in train and in validation"):
        load_together(paths, Reading(item="id"))
    es, _ = load_together(files(part_0=half[0], part_1=half[1]), Reading(item="id"))
    assert (len(es), len(es["image"])) == (23, N)


def test_rows_that_share_an_id_are_an_item_where_that_is_said(files):
    (path,) = files(pairs={"id": np.repeat(IDS, 2), "image": np.repeat(X, 2, 0), "text": np.repeat(Y, 2, axis=0) + 1})
    done = run("diagnose", str(path), "--only", "recall_at_1")
    assert done.returncode == 2
    assert "--item id" in done.stderr
    es, _ = load_together([path], Reading(item="id"))
    assert (len(es), es.items["id"].tolist()) == (N, IDS)
    assert run("diagnose", str(path), "--item", "id", "--only", "recall_at_1").returncode == 0


def test_bytes_are_the_numbers_that_they_hold_in_memory(files):
    for kind in ("f2", "f4", "f8"):
        raw = [x.astype(kind).tobytes() for x in X]
        raw[3] = None
        es, said = load_together(files(pairs={"id": IDS, "image": raw, "text": Y}))
        assert torch.allclose(es["image"].double(), torch.from_numpy(np.delete(X.astype(kind), 3, 0)).double())
        assert any(f"image: bytes of float{8 * int(kind[1])}, 16 numbers a row" in s for s in said)
    halves = (X.view(np.uint32) & 0xFFFF0000).view(np.float32)  # what bfloat16 leaves
    es, said = load_together(files(pairs={"image": [x.tobytes() for x in halves], "text": Y}))
    assert any("bytes of float32" in s for s in said)
    noise = [draw.bytes(64) for _ in range(N)]
    _, said = load_together(files(pairs={"image_embedding": noise, "text": Y}))
    assert any("image_embedding is a column: bytes" in s for s in said)


def test_columns_of_a_number_each_are_vectors_of_eight_and_say_which_is_missing(tmp_path):
    wide = {f"{m}_{k}": A[:, k] for m, A in (("image", X), ("text", Y)) for k in range(9)}
    pd.DataFrame(wide).to_csv(tmp_path / "wide.csv", index=False)
    assert load(tmp_path / "wide.csv")["text"].shape == (N, 9)
    pd.DataFrame(wide).drop(columns="image_5").to_csv(tmp_path / "wide.csv", index=False)
    _, said = load_together([tmp_path / "wide.csv"])
    assert "image_0 … image_8 are 8 columns and no vector: number 5 is not there" in said


def test_the_name_of_a_file_is_told_from_its_folders_and_its_ending():
    assert [stem(v) for v in ("a\\b/000.jpg", "v1.2", "x.tar", "0", "")] == ["0", "v1.2", "x", "0", ""]


def test_items_that_one_file_lacks_may_be_missing(files):
    some = [i for i in shuffled(IDS) if i > "p005"]
    at = [IDS.index(i) for i in some]
    paths = files(image={"id": IDS, "n": range(N), "embedding": X}, text={"id": some, "n": at, "embedding": Y[at]})
    with pytest.raises(InputError, match=r"text\.parquet lacks id 'p000' of image\.parquet .*--drop-missing"):
        load_together(paths)
    es, _ = load_together(paths, Reading(drop_missing=True))
    assert len(es) == N
    assert es.item_of_row("text").tolist() == sorted(at)
    assert recall(es) == 1
    assert es.items["n"].tolist() == list(range(N))  # whole numbers, and those of the first where the second has none


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")  # of the library that writes the file
def test_files_of_the_same_items_whose_vectors_are_called_alike_are_named_as_the_files(tmp_path):
    anndata = pytest.importorskip("anndata")
    with pd.option_context("future.infer_string", False):
        for name, x, ids in (("rna", X, IDS), ("atac", Y[ORDER], shuffled(IDS))):
            obs = pd.DataFrame({"batch": [1] * N}, index=pd.Index(ids, dtype=object))
            anndata.AnnData(obs=obs, obsm={"X_glue": x}).write_h5ad(tmp_path / f"{name}.h5ad")
    es = load(tmp_path)
    assert es.modalities == ("atac", "rna")
    of = {str(i): k for k, i in enumerate(es.items["id"])}
    assert np.allclose(es["rna"].numpy()[[of[i] for i in IDS]], X)
    assert np.allclose(es["atac"].numpy()[[of[i] for i in IDS]], Y)


def test_a_folder_of_tables_with_other_columns_is_what_the_list_of_its_files_is(files, tmp_path):
    captions = [{"id": 1000 + k, "image_id": int(OWN[k]), "caption": f"c{k}"} for k in range(len(OWN))]
    images = [{"id": k, "file_name": PATHS[k]} for k in range(N)]
    (tmp_path / "coco.json").write_text(json.dumps({"images": images, "annotations": captions}))
    files(image={"file_name": shuffled(PATHS), "image_embedding": X[ORDER]},
          text={"annotation_id": 1000 + np.arange(len(OWN)), "text_embedding": TEXTS})  # fmt: skip
    es = load(tmp_path)
    assert (len(es), len(es[es.modalities[1]])) == (N, 5 * N)
    assert np.allclose(es[es.modalities[0]].numpy(), X[ORDER])


def test_vectors_by_name_join_the_table_that_says_their_names(tmp_path):
    captions = [{"id": 1000 + k, "image_id": 50 + int(OWN[k]), "caption": f"c{k}"} for k in range(len(OWN))]
    images = [{"id": 50 + k, "file_name": PATHS[k]} for k in range(N)]
    (tmp_path / "coco.json").write_text(json.dumps({"images": images, "annotations": captions}))
    np.savez(tmp_path / "image.npz", **{PATHS[k]: X[k] for k in ORDER})
    np.savez(tmp_path / "text.npz", **{str(1000 + k): TEXTS[k] for k in range(len(OWN))})
    es = load(tmp_path)
    assert recall(es) == 1
    assert (len(es), len(es["text"])) == (N, 5 * N)


def test_rows_without_a_key_are_left_out_where_they_may_be(files):
    holes = [None if k < 3 else IDS[o] for k, o in enumerate(OWN)]
    paths = files(image={"image_id": IDS, "embedding": X}, text={"image_id": holes, "embedding": TEXTS})
    with pytest.raises(InputError, match=r"'image_id', which joins it, is empty at row 0 \(3 of 120 .*--drop-missing"):
        load_together(paths)
    es, _ = load_together(paths, Reading(drop_missing=True))
    assert (len(es), len(es["text"])) == (N, 5 * N - 3)
    assert recall(es) == 1


def test_two_columns_name_the_rows_of_two_files_together(files):
    batch, barcode = ["a"] * (N // 2) + ["b"] * (N // 2), [k % (N // 2) for k in range(N)]
    paths = files(
        image={"batch": batch, "barcode": barcode, "embedding": X},
        text={"batch": shuffled(batch), "barcode": shuffled(barcode), "embedding": Y[ORDER]},
    )
    with pytest.raises(InputError, match="--id a,b"):
        load_together(paths)
    es, _ = load_together(paths, Reading(id="batch,barcode"))
    assert recall(es) == 1
    assert es.items["id"].tolist() == [f"{b}/{c}" for b, c in zip(batch, barcode, strict=True)]
    assert es.items["barcode"].tolist() == barcode, "the columns that name a row together stay as they were"
    assert "batch,barcode" not in es.items


def test_a_dictionary_of_a_few_captions_each_is_rows_of_its_names(tmp_path):
    torch.save({f"/data/{PATHS[k]}": torch.tensor(X[k : k + 1]) for k in ORDER}, tmp_path / "image.pt")
    counts = draw.integers(2, 5, N)
    near = {
        PATHS[k]: torch.tensor(X[k] + 0.1 * draw.standard_normal((c, D)).astype("f4")) for k, c in enumerate(counts)
    }
    torch.save(near, tmp_path / "text.pt")
    es = load(tmp_path)
    assert (len(es), len(es["text"])) == (N, int(counts.sum()))
    assert recall(es) == 1


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("columns", ["{}_meta", "{}"])
def test_tables_beside_arrays_of_several_splits_are_theirs(tmp_path, listed, columns):
    for split, at in (("train", slice(0, 16)), ("val", slice(16, N))):
        np.save(tmp_path / f"{split}_image.npy", X[at])
        np.save(tmp_path / f"{split}_text.npy", Y[at])
        frame = pd.DataFrame({"id": range(len(X[at])), "kind": [f"k{i}" for i in range(at.start, at.stop)]})
        frame.to_csv(tmp_path / f"{columns.format(split)}.csv", index=False)
    (tmp_path / "train_log.csv").write_text("step,loss\n1,2.0\n")
    if listed:
        (tmp_path / "train_log.csv").unlink()
        es, said = load_together(sorted(tmp_path.iterdir()))
    else:
        es, said = load_aloud(tmp_path)
        assert any("train_log.csv is left out: there is none of val" in line for line in said)
    assert es.items["kind"].tolist() == [f"k{i}" for i in range(N)]
    assert es.items["id"].tolist()[15:17] == ["train/15", "val/0"]
    (tmp_path / f"{columns.format('val')}.csv").write_text("id,kind\n0,a\n")
    with pytest.raises(InputError, match=r"has 1 rows, where the arrays of val have 8"):
        load(tmp_path)


def test_captions_in_json_say_whose_the_rows_of_a_folder_of_arrays_are(tmp_path):
    captions = [{"id": 1000 + k, "image_id": 50 + int(OWN[k]), "caption": f"c{k}"} for k in range(len(OWN))]
    (tmp_path / "coco.json").write_text(
        json.dumps({"images": [{"id": 50 + k, "file_name": PATHS[k]} for k in range(N)], "annotations": captions})
    )
    np.save(tmp_path / "image.npy", X)
    np.save(tmp_path / "text.npy", TEXTS)
    es = load(tmp_path)
    assert (len(es), len(es["text"])) == (N, 5 * N)
    assert recall(es) == 1


def test_a_bad_row_is_named_by_its_place_in_the_table(tmp_path):
    rows = [None if k in (4, 9) else X[k] for k in range(N)]
    rows[12] = np.full(D, np.nan, "f4")
    pd.DataFrame({"image": list(Y), "text": rows}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="'text' has NaN at row 12,"):
        load(tmp_path / "a.parquet")
    padded = np.stack([X, Y], 1)
    padded[3, 1] = 0
    np.savez(tmp_path / "a.npz", image=X, text=padded)
    with pytest.raises(InputError, match="zero vector at row 3.*--captions text too"):
        load(tmp_path / "a.npz")


def test_items_that_only_one_of_two_files_has_lack_the_other_whatever_the_order(tmp_path):
    mine, theirs = range(20), range(4, N)
    for name, x, at in (("rna", X, mine), ("atac", Y, theirs)):
        at = draw.permutation(list(at))
        held = {"barcode": [IDS[k] for k in at], "n_counts": draw.integers(1, 99, len(at)), "embedding": list(x[at])}
        pd.DataFrame(held).to_parquet(tmp_path / f"{name}.parquet")
    for names in (("rna", "atac"), ("atac", "rna")):
        es, said = load_together([tmp_path / f"{n}.parquet" for n in names], Reading(drop_missing=True))
        assert (len(es), len(es["rna"]), len(es["atac"])) == (N, 20, 20)
        barcode = es.items["barcode"]
        for m, x in (("rna", X), ("atac", Y)):
            at = [IDS.index(barcode[i]) for i in es.item_of_row(m).tolist()]
            assert np.allclose(es[m].numpy(), x[at])
        assert {"n_counts", f"{names[1]}.n_counts"} <= {*es.items}
        assert any("items without" in line for line in said)


def test_bytes_of_the_kind_and_width_of_others_are_vectors_too(tmp_path):
    for kind in ("int8", "uint8"):
        rows = [list(r) for r in draw.integers(0, 99, (2 * N, D)).astype(kind)]
        table = {n: pa.array(rows[k * N : (k + 1) * N], pa.list_(pa.type_for_alias(kind)))
                 for k, n in enumerate(("image_embedding", "report"))}  # fmt: skip
        pq.write_table(pa.table(table | {"box": pa.array([[1, 2, 3, 4]] * N)}), tmp_path / "a.parquet")
        assert load(tmp_path / "a.parquet").modalities == ("image_embedding", "report")
