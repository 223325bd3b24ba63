"""Sets: what is refused and with which sentence, round trips, fingerprints, crashes in the middle of a save."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.conftest import planted, ragged


def arrays(n=5, d=3):
    rng = np.random.default_rng(0)
    return {"image": rng.standard_normal((n, d)), "text": rng.standard_normal((n, d))}


def broken(change):
    out = arrays()
    change(out)
    return out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.update(text=a["text"][:4]), "'text' has 4 rows"),
        (lambda a: a["text"].__setitem__((2, 1), np.nan), "NaN at row 2, dimension 1"),
        (lambda a: a["image"].__setitem__((3, 0), np.inf), "infinite number at row 3"),
        (lambda a: a["image"].__setitem__(4, 0.0), "zero vector at row 4"),
        (lambda a: a.update(image=a["image"].astype(complex)), "dtype complex128"),
        (lambda a: a.update(image=np.array([[object()] * 3] * 5)), "dtype object"),
        (lambda a: a.update(image=a["image"][0]), "must be (rows, d)"),
        (lambda a: a.update({"../up": a["image"]}), "no modality name"),
    ],
)
def test_bad_arrays_are_refused_in_one_sentence(change, said):
    with pytest.raises(wb.InputError, match=".*" + said.replace("(", r"\(").replace(")", r"\)")) as e:
        wb.EmbeddingSet(broken(change))
    assert "\n" not in str(e.value)


def test_bad_items_are_refused():
    with pytest.raises(wb.InputError, match="'b' twice, again at row 3"):
        wb.EmbeddingSet(arrays(), pd.DataFrame({"id": list("abcbe")}))
    with pytest.raises(wb.InputError, match="'dev' at row 0"):
        wb.EmbeddingSet(arrays(), pd.DataFrame({"split": ["dev"] * 5}))
    with pytest.raises(wb.InputError, match="did you mean 'image'"):
        wb.EmbeddingSet(arrays())["imge"]


@pytest.mark.parametrize("make", [planted, ragged])
def test_round_trip_keeps_everything(make, tmp_path):
    es = make()
    back = wb.load(es.save(tmp_path / "set"))
    assert back.fingerprint == es.fingerprint
    for m in es.modalities:
        assert torch.equal(back[m], es[m])
        assert torch.equal(back.item_of_row(m), es.item_of_row(m))
    pd.testing.assert_frame_equal(back.items, es.items)


def test_layers_round_trip(tmp_path):
    es = wb.EmbeddingSet({"h": torch.randn(4, 3, 5)})
    back = wb.load(es.save(tmp_path / "set"))
    assert back.layers == 3
    assert torch.equal(back.layer(1)["h"], es["h"][:, 1])
    assert wb.diagnose(es, only=["effective_rank"]).about["layer"] == 2


def test_the_fingerprint_sees_every_change():
    es = planted(n=6)
    seen = {es.fingerprint}
    x = {m: es[m].clone() for m in es.modalities}
    x["text"][3, 2] += 1e-6
    seen.add(wb.EmbeddingSet(x, es.items).fingerprint)
    seen.add(wb.EmbeddingSet({m: es[m] for m in es.modalities}, es.items.assign(label=1)).fingerprint)
    seen.add(es.take([1, 0, 2, 3, 4, 5]).fingerprint)
    assert len(seen) == 4


def test_readers_agree(tmp_path):
    from safetensors.numpy import save_file

    a, ids = arrays(), np.array(list("vwxyz"))
    np.savez(tmp_path / "s.npz", **a, id=ids)
    (tmp_path / "folder").mkdir()
    for k, x in {**a, "id": ids}.items():
        np.save(tmp_path / "folder" / f"{k}.npy", x)
    save_file(a, tmp_path / "s.safetensors")
    table = pa.table({"id": ids, **{k: pa.array(list(x)) for k, x in a.items()}})
    pq.write_table(table, tmp_path / "s.parquet")
    for name in ("s.npz", "folder", "s.safetensors", "s.parquet"):
        es = wb.load(tmp_path / name)
        for k, x in a.items():
            assert np.array_equal(es[k].numpy(), x), name
        if name != "s.safetensors":
            assert es.items["id"].tolist() == ids.tolist()


def test_a_missing_list_is_a_missing_modality(tmp_path):
    pq.write_table(
        pa.table({"image": pa.array([[1.0, 2], None, [3.0, 4]]), "text": pa.array([[1.0, 0]] * 3)}),
        tmp_path / "p.parquet",
    )
    es = wb.load(tmp_path / "p.parquet")
    assert es.item_of_row("image").tolist() == [0, 2]


def test_pickles_are_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "boom"),))

    np.save(tmp_path / "a.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", x=np.array([Bomb()], dtype=object))
    (tmp_path / "c.npz").write_bytes(pickle.dumps(Bomb()))
    for name in ("", "b.npz", "c.npz"):
        with pytest.raises(wb.InputError):
            wb.load(tmp_path / name)
    assert not (tmp_path / "boom").exists()


@settings(max_examples=40)
@given(cut=st.floats(0.01, 0.99), kind=st.sampled_from(["npz", "parquet", "safetensors", "set"]))
def test_truncated_files_end_in_one_sentence(cut, kind, tmp_path_factory):
    path = tmp_path_factory.mktemp("cut")
    es = planted(n=9)
    x = {m: es[m].numpy() for m in es.modalities}
    if kind == "npz":
        file = target = path / "s.npz"
        np.savez(file, **x)
    elif kind == "parquet":
        file = target = path / "s.parquet"
        pq.write_table(pa.table({k: pa.array(list(v)) for k, v in x.items()}), file)
    elif kind == "safetensors":
        from safetensors.numpy import save_file

        file = target = path / "s.safetensors"
        save_file(x, file)
    else:
        target = es.save(path / "set")
        file = target / "text.safetensors"
    raw = file.read_bytes()
    file.write_bytes(raw[: int(len(raw) * cut)])
    with pytest.raises(wb.InputError) as e:
        wb.load(target)
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value)


def test_a_killed_save_leaves_the_old_set_or_the_new(tmp_path):
    """A process that saves two sets in turn is killed at many moments; what is on disk is always one of the two."""
    script = f"""
import sys; sys.path.insert(0, {str(os.getcwd())!r})
from tests.conftest import planted
a, b = planted(n=400, seed=0), planted(n=400, seed=1)
a.save({str(tmp_path / "s")!r}); print("ready", flush=True)
while True:
    b.save({str(tmp_path / "s")!r}); a.save({str(tmp_path / "s")!r})
"""
    whole = {planted(n=400, seed=s).fingerprint for s in (0, 1)}
    for delay in (0.01, 0.05, 0.13):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert wb.load(tmp_path / "s").fingerprint in whole


def test_nothing_but_a_set_is_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(wb.InputError, match="nothing was written"):
        planted().save(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_the_shipped_set(emoji):
    assert len(emoji) == 1544
    assert {m: emoji[m].shape[1] for m in emoji.modalities} == {
        "color": 1280,
        "sketch": 1280,
        "text": 512,
        "text_de": 512,
    }
    sides = emoji.items.groupby("family")["split"].nunique()
    assert int(sides.max()) == 1
    assert emoji.items.loc[emoji.items["name"].isin(["man running", "woman running"]), "split"].nunique() == 1


def test_importing_is_light():
    code = (
        "import sys, workbench as wb; wb.EmbeddingSet; wb.diagnose; wb.recipe\n"
        "heavy = 'panel plotly umap IPython jupyterlab lightning papermill'.split()\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_manifest_is_readable_without_the_package(tmp_path):
    es = planted()
    manifest = json.loads((es.save(tmp_path / "s") / "manifest.json").read_text())
    assert manifest["format"] == "workbench.embedding_set"
    assert manifest["items"] == len(es)


def test_importing_costs_little_more_than_torch_and_pandas():
    code = (
        "import time; began = time.perf_counter(); import torch, pandas; theirs = time.perf_counter()\n"
        "import workbench as wb; wb.EmbeddingSet; print((time.perf_counter() - began) / (theirs - began))"
    )
    shares = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3)]
    assert sorted(shares)[1] < 1.5
