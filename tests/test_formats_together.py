"""Ids beside vectors, files of one schema, and what a frame's index says: pairs are right, or refused in a sentence."""

import base64

import numpy as np
import pandas as pd
import pytest
import torch

from tests.commands import run
from tests.test_formats_joins import IDS, ORDER, N, X, Y, files, recall, shuffled  # noqa: F401 - a fixture among them
from workbench.errors import InputError
from workbench.sets.formats import Reading, load, load_aloud
from workbench.sets.formats.bring_in import load_together
from workbench.sets.formats.load import as_set


def npz(folder, **arrays):
    np.savez(folder / "e.npz", **arrays)
    return load_aloud(folder / "e.npz")


def test_ids_of_two_modalities_in_one_file_put_their_rows_in_one_order(tmp_path):
    ids = {"image_ids": np.array(IDS), "text_ids": np.array(shuffled(IDS))}
    es, said = npz(tmp_path, image=X, text=Y[ORDER], **ids)
    assert recall(es) == 1
    assert "rows of text are put in the order of image, by image_ids = text_ids" in said
    torch.save({"image_features": torch.from_numpy(X), "text_features": torch.from_numpy(Y[ORDER]),
                **{k: v.tolist() for k, v in ids.items()}}, tmp_path / "e.pt")  # fmt: skip
    es = load(tmp_path / "e.pt")
    assert torch.equal(es["text_features"], torch.from_numpy(Y))
    es, _ = npz(tmp_path, image=X, text=Y, image_ids=np.array(IDS), text_ids=np.array([f"t{k}" for k in range(N)]))
    assert recall(es) == 1, "ids of other things say nothing of the order"


def test_arrays_go_with_the_ids_that_are_called_as_they_are(tmp_path):
    parts = {"image": X, "image_ids": np.array(IDS), "text": Y[ORDER], "text_ids": np.array(shuffled(IDS))}
    for name, x in parts.items():
        np.save(tmp_path / f"{name}.npy", x)
    assert recall(load_together(sorted(tmp_path.glob("*.npy")))[0]) == 1
    assert recall(load(tmp_path)) == 1
    (tmp_path / "b").mkdir()
    for m, A, ids in (("image", X, IDS), ("text", Y[ORDER], shuffled(IDS))):
        np.save(tmp_path / "b" / f"{m}.npy", A)
        pd.DataFrame({"id": ids}).to_csv(tmp_path / "b" / f"{m}_meta.csv", index=False)
    assert recall(load_together(sorted((tmp_path / "b").iterdir()))[0]) == 1


def test_a_row_that_names_two_items_is_no_pair(files):  # noqa: F811
    (path,) = files(one={"image_id": IDS, "image": X, "text_id": shuffled(IDS), "text": Y[ORDER]})
    with pytest.raises(InputError, match="image_id and text_id hold the same values in another order"):
        load(path)


@pytest.mark.parametrize("names", [("img", "txt"), ("image", "text"), ("a", "b")])
@pytest.mark.parametrize("kind", ["ids", "index", "none"])
def test_tables_of_one_schema_and_a_vector_each_are_two_modalities(tmp_path, monkeypatch, names, kind):
    monkeypatch.chdir(tmp_path)
    for name, A, ids in zip(names, (X, Y[ORDER]), (IDS, shuffled(IDS)), strict=True):
        frame = pd.DataFrame({"embedding": [str(x.tolist()) for x in A]}, index=ids)
        frame = frame.reset_index(names="url") if kind == "ids" else frame
        frame.to_csv(f"{name}.csv", index=kind == "index")
    es, said = load_together([tmp_path / f"{name}.csv" for name in names])
    if kind == "none" and names == ("a", "b"):
        assert (es.modalities, len(es)) == (("embedding",), 2 * N)
        assert "2 files of the same columns follow each other, as more rows" in said
        return
    first, second = es.modalities
    assert len(es) == N
    want = Y[ORDER] if kind == "none" else Y
    assert torch.allclose(es[first].float(), torch.from_numpy(X))
    assert torch.allclose(es[second].float(), torch.from_numpy(want))


def test_files_of_each_modality_follow_each_other_and_are_then_joined(files):  # noqa: F811
    cuts = [("image", X, IDS, 10), ("text", Y[ORDER], shuffled(IDS), 14)]
    parts = {f"{m}-{k}": {"id": ids[s], "embedding": A[s]} for m, A, ids, at in cuts
             for k, s in enumerate((slice(0, at), slice(at, N)))}  # fmt: skip
    es, _ = load_together(files(**parts))
    assert (len(es), recall(es)) == (N, 1)
    turn = draw_within(10)
    parts = {}
    for split, s in (("train", slice(0, 10)), ("val", slice(10, N))):
        n = len(X[s])
        order = turn[:n] if split == "train" else np.arange(n)
        parts |= {f"{split}_image": {"id": np.arange(n), "embedding": X[s]},
                  f"{split}_text": {"id": order, "embedding": Y[s][order]}}  # fmt: skip
    es, _ = load_together(files(**parts))
    assert (len(es), recall(es)) == (N, 1)
    assert es.items["split"].value_counts().to_dict() == {"validation": N - 10, "train": 10}


def draw_within(n):
    return np.random.default_rng(4).permutation(n)


def test_the_index_of_a_frame_is_an_id_or_in_the_way(tmp_path):
    both = pd.DataFrame({"image": X.tolist(), "text": Y.tolist()}, index=IDS)
    both.to_parquet(tmp_path / "both.parquet")
    assert recall(load(tmp_path / "both.parquet")) == 1
    both[["image"]].to_parquet(tmp_path / "image.parquet")
    both[["text"]].iloc[ORDER].to_parquet(tmp_path / "text.parquet")
    assert recall(load_together([tmp_path / "image.parquet", tmp_path / "text.parquet"])[0]) == 1
    both = both.reset_index(drop=True)
    both[["image"]].to_parquet(tmp_path / "image.parquet")
    both[["text"]].iloc[ORDER].to_parquet(tmp_path / "text.parquet")
    with pytest.raises(InputError, match=r"text\.parquet has an index of pandas that is not in order"):
        load_together([tmp_path / "image.parquet", tmp_path / "text.parquet"])
    with pytest.raises(InputError, match="text has another index than image"):
        as_set({"image": pd.DataFrame(X, index=IDS), "text": pd.DataFrame(Y, index=IDS).iloc[ORDER]})
    with pytest.raises(InputError, match="text has masked values"):
        as_set({"image": X, "text": np.ma.masked_array(Y, mask=Y > 1)})


def test_vectors_in_text_with_decimal_commas_and_as_base64(tmp_path):
    cells = ["[" + "; ".join(str(v).replace(".", ",") for v in x.tolist()) + "]" for x in X]
    coded = [base64.b64encode(y.tobytes()).decode() for y in Y]
    pd.DataFrame({"id": IDS, "image": cells, "text": coded}).to_csv(tmp_path / "one.csv", index=False, sep=";")
    es = load(tmp_path / "one.csv")
    assert es.modalities == ("image", "text")
    assert torch.allclose(es["image"].float(), torch.from_numpy(X))
    assert torch.equal(es["text"], torch.from_numpy(Y))


def test_an_empty_list_is_a_hole(files, tmp_path):  # noqa: F811
    (path,) = files(one={"image": X.tolist(), "text": [[], None, *Y[2:].tolist()]})
    assert load(path).item_of_row("text").tolist() == list(range(2, N))
    pd.DataFrame({"image": [str(x) for x in X.tolist()], "text": ["[]", "", *(str(y) for y in Y[2:].tolist())]}).to_csv(
        tmp_path / "one.csv", index=False
    )
    assert load(tmp_path / "one.csv").item_of_row("text").tolist() == list(range(2, N))


def test_a_row_a_caption_says_how_to_make_items_of_them(files):  # noqa: F811
    twice = np.repeat(np.arange(N), 2)
    (path,) = files(one={"image_id": np.array(IDS)[twice], "image": X[twice], "text": Y[twice] + 0.1 * Y[::-1][twice]})
    done = run("diagnose", str(path), "--only", "recall_at_1")
    assert f"--item image_id makes {N} items of {2 * N} rows" in " ".join(done.stdout.split())
    assert "not judged" in done.stdout


def test_batches_and_splits_of_a_torch_file_are_put_together(tmp_path):
    cut = [torch.from_numpy(a) for a in (X[:10], X[10:])], [torch.from_numpy(a) for a in (Y[:10], Y[10:])]
    torch.save({"image": cut[0], "text": cut[1]}, tmp_path / "batches.pt")
    assert recall(load(tmp_path / "batches.pt")) == 1
    torch.save({s: {"image": a, "text": b} for s, a, b in zip(("train", "val"), *cut, strict=True)}, tmp_path / "s.pt")
    es = load(tmp_path / "s.pt")
    assert (recall(es), es.items["split"].tolist()) == (1, ["train"] * 10 + ["validation"] * (N - 10))


def test_a_file_without_a_header_says_so(tmp_path):
    np.savetxt(tmp_path / "image.csv", X, delimiter=",")
    with pytest.raises(InputError, match="no header line: its first line holds numbers"):
        load(tmp_path / "image.csv")


def test_names_with_holes_or_zeros_before_them_are_keys_too(files, tmp_path):  # noqa: F811
    keys = shuffled(IDS)
    keys[3] = None
    both = files(image={"photo_id": IDS, "image": X}, text={"photo": keys, "text": Y[ORDER]})
    with pytest.raises(InputError, match=r"text\.parquet: column 'photo', which joins it, is empty at row 3"):
        load_together(both)
    both = files(image={"ean": [f"{k:05d}" for k in range(N)], "image": X}, text={"code": ORDER, "text": Y[ORDER]})
    assert recall(load_together(both)[0]) == 1
    es, _ = npz(tmp_path, image=X, text=Y[ORDER], image_names=np.array(IDS), text_paths=np.array(shuffled(IDS)))
    assert recall(es) == 1


def test_arrays_do_not_go_with_a_table_that_has_vectors_where_another_is_theirs(files, tmp_path):  # noqa: F811
    np.save(tmp_path / "image.npy", X)
    (texts,) = files(text={"name": shuffled(IDS), "text": Y[ORDER]})
    pd.DataFrame({"name": IDS[:-1]}).to_csv(tmp_path / "names.csv", index=False)
    with pytest.raises(InputError, match=r"names\.csv has 23 rows but image\.npy has 24"):
        load_together([tmp_path / "image.npy", tmp_path / "names.csv", texts])
    (tmp_path / "names.csv").write_text("\n".join(f"{i}.jpg" for i in IDS))
    with pytest.raises(InputError, match="no header line: 'p000.jpg' is such a value as those below it"):
        load_together([tmp_path / "image.npy", tmp_path / "names.csv", texts])


def test_rows_of_an_item_are_grouped_before_tables_are_joined(files):  # noqa: F811
    again = np.r_[ORDER, ORDER[:5]]
    both = files(image={"id": IDS, "image": X}, text={"id": np.array(IDS)[again], "text": Y[again]})
    es, _ = load_together(both, Reading(item="id"))
    assert (len(es), len(es["text"]), recall(es)) == (N, N, 1)
