"""Treatments as they are shipped: loaded without the package, applied to files, written and refused by commands."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import workbench as wb
from tests.commands import run
from workbench.sets.formats.write import write
from workbench.sets.planted import planted
from workbench.treatments import METHODS, portable, treat
from workbench.treatments.base import STORAGE
from workbench.treatments.treat import divided
from workbench.treatments.treated import save


@pytest.fixture(scope="module")
def parts():
    return divided(planted(160, 12, gap=0.8, cosine=0.5, seed=3))


def rows(es, m):
    return es[m].numpy()


# -- shipped -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(METHODS))
def test_what_is_loaded_changes_vectors_as_what_was_judged(parts, name, tmp_path):
    m = METHODS[name]
    settings = m.grid[3] if m.kind == STORAGE else m.grid[0]
    es = planted(200, 16, gap=0.5, seed=0)
    t = m.fit(es, **settings)
    loaded = wb.Treatment.load(save(t, tmp_path / "fix"))
    for k in es.modalities:
        for role in portable.ROLES:
            np.testing.assert_array_equal(loaded.transform(rows(es, k), k, role), t.transform(rows(es, k), k, role))


def test_what_is_shipped_needs_numpy_alone(tmp_path):
    es = planted(200, 16, gap=0.5, seed=0)
    fix = save(METHODS["inverted_softmax"].fit(es, beta=20.0), tmp_path / "fix")
    shutil.copy(portable.__file__, tmp_path / "treatment.py")
    np.save(tmp_path / "x.npy", rows(es, "text"))
    program = (
        "import sys, numpy as np\n"
        "for gone in ('torch', 'pandas', 'workbench', 'safetensors'): sys.modules[gone] = None\n"
        "from treatment import Treatment\n"
        "np.save('y.npy', Treatment.load('fix').transform(np.load('x.npy'), 'text', role='query'))\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60)
    want = wb.Treatment.load(fix).transform(rows(es, "text"), "text", "query")
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), want, atol=1e-7)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A set on disk, a treatment of it, and one for storage."""
    here = tmp_path_factory.mktemp("shipped")
    es = planted(300, 16, gap=0.9, seed=0)
    write(es, here / "pairs.parquet", "parquet")
    np.save(here / "text.npy", rows(es, "text"))
    save(METHODS["centre"].fit(es), here / "fix")
    save(METHODS["compress"].fit(es, keep="pca", share=2, kind="int8", again=0), here / "small")
    return here, es


def test_a_table_is_changed_a_part_at_a_time_and_holes_stay_holes(shipped, monkeypatch):
    import pyarrow.parquet as pq

    from workbench.treatments import apply as room

    here, es = shipped
    frame = pd.read_parquet(here / "pairs.parquet")
    frame.loc[5, "text"] = None
    frame["price"] = np.arange(300)
    frame.to_parquet(here / "holes.parquet")
    monkeypatch.setattr(room, "ROWS", 64)
    assert room.apply(room.opened(here / "fix"), here / "holes.parquet", here / "new.parquet") == {
        "image": 300,
        "text": 299,
    }
    got = pq.read_table(here / "new.parquet").to_pandas()
    assert got.loc[5, "text"] is None
    assert got["price"].tolist() == list(range(300))
    t = wb.Treatment.load(here / "fix")
    np.testing.assert_allclose(np.stack(got["image"]), t.transform(rows(es, "image"), "image"), atol=1e-6)
    assert not list(here.glob(".*writing"))


def test_arrays_and_codes_are_written_in_kind(shipped):
    here, es = shipped
    assert run("apply", here / "fix", here / "text.npy", "-o", here / "asked.npy", "--role", "query").returncode == 0
    t = wb.Treatment.load(here / "fix")
    np.testing.assert_allclose(np.load(here / "asked.npy"), t.transform(rows(es, "text"), "text"), atol=1e-6)
    assert run("apply", here / "small", here / "pairs.parquet", "-o", here / "codes.parquet").returncode == 0
    small = wb.Treatment.load(here / "small")
    codes = np.stack(pd.read_parquet(here / "codes.parquet")["image"])
    assert codes.dtype == np.int8
    np.testing.assert_array_equal(codes, small.encode(rows(es, "image"), "image"))
    es.save(here / "set")
    assert run("apply", here / "fix", here / "set", "-o", here / "set2").returncode == 0
    np.testing.assert_allclose(
        wb.load(here / "set2")["image"].numpy(), t.transform(rows(es, "image"), "image"), atol=1e-6
    )


def test_bytes_of_codes_are_written_with_their_holes(shipped):
    here, es = shipped
    save(METHODS["compress"].fit(es, keep="first", share=1, kind="binary", again=0), here / "bits")
    frame = pd.read_parquet(here / "pairs.parquet")
    frame.loc[2, "image"] = None
    frame.to_parquet(here / "gap.parquet")
    assert run("apply", here / "bits", here / "gap.parquet", "-o", here / "bits.parquet").returncode == 0
    got = pd.read_parquet(here / "bits.parquet")["image"]
    assert got[2] is None
    bits = wb.Treatment.load(here / "bits").encode(rows(es, "image"), "image")
    assert [got[k] for k in (0, 1, 3)] == [bits[k].tobytes() for k in (0, 1, 3)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere", "pairs.parquet", "-o", "x.parquet"], "no treatment"),
        (["fix", "nothing.parquet", "-o", "x.parquet"], "no such file"),
        (["fix", "pairs.parquet", "-o", "pairs.parquet"], "is what is read"),
        (["fix", "pairs.parquet", "-o", "x.npy"], "name it .parquet"),
        (["fix", "pairs.parquet", "-o", "x.parquet", "--role", "asked"], "no role named"),
        (["fix", "pairs.parquet", "-o", "x.parquet", "--modality", "sound=image"], "no modality of this treatment"),
        (["fix", "pairs.parquet", "-o", "x.parquet", "--modality", "image=id"], "not one vector a row"),
        (["fix", "other.parquet", "-o", "x.parquet"], "--modality image=COLUMN"),
        (["fix", "wide.npy", "-o", "x.npy", "--modality", "text=wide.npy"], "rows of 18 dimensions are due"),
        (["fix", "wide.npy", "-o", "x.npy"], "of which modality"),
        (["fix", "zero.npy", "-o", "x.npy", "--modality", "text=zero.npy"], "row 3 is zero"),
        (["torn", "pairs.parquet", "-o", "x.parquet"], "no readable treatment"),
        (["fix", "torn.parquet", "-o", "x.parquet"], "not readable as Parquet"),
    ],
)
def test_what_cannot_be_applied_is_said_in_one_sentence_and_leaves_nothing(shipped, arguments, says, monkeypatch):
    here, es = shipped
    monkeypatch.chdir(here)
    pd.DataFrame({"id": ["a"], "vec": [[1.0, 2.0]], "family": ["f"]}).to_parquet("other.parquet")
    np.save("wide.npy", np.ones((4, 7), np.float32))
    zero = rows(es, "text").copy()
    zero[3] = 0
    np.save("zero.npy", zero)
    Path("torn.parquet").write_bytes(b"PAR1 nothing")
    shutil.copytree("fix", "torn", dirs_exist_ok=True)
    Path("torn/treatment.safetensors").write_bytes(b"\x09\0\0\0\0\0\0\0{}")
    done = run("apply", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not Path("x.parquet").exists()
    assert not Path("x.npy").exists()
    assert not list(Path().glob(".*writing"))


def test_the_command_writes_the_winner_and_says_what_is_next(shipped):
    here, _ = shipped
    done = run("treat", here / "pairs.parquet", "--goal", "mixed", "-o", here / "won", "--json", here / "won.json")
    assert done.returncode == 0
    assert "nDCG@10" in done.stdout
    assert f"workbench apply {here / 'won'}" in done.stdout
    won = wb.Treatment.load(here / "won")
    assert won.facts["judged"]["low"] > 0
    assert json.loads((here / "won.json").read_text())["treatments"][0]["name"] == "as it is"
    done = run("treat", here / "pairs.parquet", "-o", here / "none", "--choose", "standardise")
    assert done.returncode == 0
    assert wb.Treatment.load(here / "none").name == "standardise"


def test_nothing_is_written_where_nothing_helps(tmp_path):
    write(planted(200, 32, cosine=0.95, seed=0), tmp_path / "well.parquet", "parquet")
    done = run("treat", tmp_path / "well.parquet", "-o", tmp_path / "fix")
    assert done.returncode == 0
    assert "Nothing helps" in done.stdout
    assert not (tmp_path / "fix").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    done = run("treat", tmp_path / "well.parquet", "-o", tmp_path / "full", "--choose", "centre")
    assert done.returncode == 2
    assert "is there and is no treatment" in done.stderr
    assert (tmp_path / "full" / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--goal", "speed"], "no goal named 'speed'"),
        (["--goal", "classes"], "needs --label"),
        (["--only", "center"], "did you mean 'centre'"),
        (["--only", "compress"], "serves storage"),
        (["--modalities", "image"], "image alone"),
        (["--choose", "centre"], "-o FOLDER"),
    ],
)
def test_what_cannot_be_treated_is_said_in_one_sentence(shipped, arguments, says):
    done = run("treat", shipped[0] / "pairs.parquet", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_too_few_families_are_no_ground():
    with pytest.raises(wb.InputError, match="families to"):
        treat(planted(10, 8, seed=0))


def test_unequal_widths_are_bridged():
    es = planted(300, 12, seed=0)
    wide = wb.EmbeddingSet({"image": torch.cat([es["image"], es["image"].flip(1)], 1), "text": es["text"]}, es.items)
    found = treat(wide, "retrieval")
    assert {c.name for c in found.candidates} == {"cca", "ridge"}
    assert found.value < 0.05
    assert found.winner is not None
    assert "equal widths" in found.left_out[0]["reason"]


def test_ten_lines_of_numpy_on_the_exported_vectors_find_the_same_gain(tmp_path):
    es = wb.dataset("emoji").only(["color", "sketch"])
    write(es, tmp_path / "pairs.parquet", "parquet")
    words = ["--goal", "mixed", "--only", "centre", "--only", "procrustes", "-o", "fix"]
    assert run("treat", "pairs.parquet", *words, cwd=tmp_path).returncode == 0
    assert run("apply", "fix", "pairs.parquet", "-o", "treated.parquet", cwd=tmp_path).returncode == 0
    judged = json.loads((tmp_path / "fix" / "treatment.json").read_text())["judged"]

    def gain(frame):
        frame = frame[frame["split"] == "validation"]
        x, y = (np.stack(frame[m]).astype(float) for m in ("color", "sketch"))
        x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
        found = []
        for a, b in ((x, y), (y, x)):
            own = (a * b).sum(1, keepdims=True)
            across, within = a @ b.T > own + 1e-9, a @ a.T > own + 1e-9
            np.fill_diagonal(across, False), np.fill_diagonal(within, False)
            rank = 1 + across.sum(1) + within.sum(1)
            found.append(np.where(rank <= 10, 1 / np.log2(1 + rank), 0).mean())
        return float(np.mean(found))

    before, after = (gain(pd.read_parquet(tmp_path / f"{name}.parquet")) for name in ("pairs", "treated"))
    assert before == pytest.approx(judged["before"], abs=2e-3)  # exact ties are shared there, and not here
    assert after == pytest.approx(judged["after"], abs=1e-6)
    assert after - before > 0.2


@pytest.mark.parametrize("name", ["csls", "inverted_softmax", "whiten", "dual_bank"])
def test_an_index_of_inner_products_finds_what_was_judged(name, tmp_path):
    """The lines of docs/treat.md: keys as they are stored, queries as they ask, a plain index of another library."""
    faiss = pytest.importorskip("faiss")
    es = planted(300, 16, gap=0.8, cosine=0.5, seed=0)
    m = METHODS[name]
    fix = wb.Treatment.load(save(m.fit(es, **m.grid[0]), tmp_path / "fix"))
    stored, asked = fix.transform(rows(es, "image"), "image"), fix.transform(rows(es, "text"), "text", role="query")
    index = faiss.IndexFlatIP(stored.shape[1])
    index.add(stored)
    score, place = index.search(asked, 10)
    want = asked @ stored.T
    np.testing.assert_allclose(score, -np.sort(-want, axis=1)[:, :10], atol=1e-5)
    first = want.argmax(1)
    assert (place[:, 0] == first).mean() > 0.99
