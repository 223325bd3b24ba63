"""The command line in real processes: JSON, sentences, exit codes, pages, notebooks."""

import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest

import workbench as wb
from tests.conftest import planted
from workbench.cli.catalog import catalog


def run(*args, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "workbench.cli", *map(str, args)], capture_output=True, text=True, cwd=cwd
    )


KEYS = [
    "name",
    "modalities",
    "value",
    "low",
    "high",
    "interval_kind",
    "null_low",
    "null",
    "null_high",
    "null_kind",
    "better",
    "n_query",
    "n_gallery",
    "exact",
    "params",
    "unit",
    "bound",
    "reason",
]


def test_diagnose_writes_what_python_says(tmp_path):
    es = planted(modalities=("image", "text"))
    es.save(tmp_path / "pairs")
    done = run("diagnose", tmp_path / "pairs", "--json", tmp_path / "out.json")
    assert done.returncode == 0, done.stderr
    assert "paired by row order" in done.stdout
    data = json.loads((tmp_path / "out.json").read_text())
    assert (data["items"], data["fingerprint"]) == (len(es), es.fingerprint)
    assert [*data["results"][0]] == KEYS
    report = wb.diagnose(es)
    for r in data["results"]:
        value = report.value(r["name"], *r["modalities"])
        assert r["value"] == pytest.approx(value) if math.isfinite(value) else r["reason"]
    assert {"rule", "severity", "sentence", "evidence", "next"} == set(data["findings"][0])


def test_the_terminal_shows_sentences_first(tmp_path):
    planted().save(tmp_path / "s")
    out = run("diagnose", tmp_path / "s").stdout
    assert out.index("finds its") < out.index("recall_at_1") < out.index("next ")
    assert re.search(r"image → text +1\.00 \[", out)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("diagnose", "nothing.npz"), "no such file"),
        (("diagnose", "s", "--only", "uniformty"), "did you mean 'uniformity'"),
        (("diagnose", "s", "-p", "uniformity.q=3"), "no parameter of uniformity"),
        (("diagnose", "bad.npz"), "NaN at row 1"),
        (("train", "infonse", "-o", "r"), "did you mean 'infonce'"),
        (("train", "infonce", "-o", "r", "--set", "steps"), "name=value"),
        (("serve", "nowhere"), "no run and no set in nowhere"),
        (("catalog", "losses"), "no catalog named"),
        (("diagnose",), "Missing argument"),
    ],
)
def test_user_errors_are_one_sentence_and_exit_2(args, said, tmp_path):
    planted().save(tmp_path / "s")
    np.savez(tmp_path / "bad.npz", a=np.array([[1.0, 2], [np.nan, 1]]))
    done = run(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("what", ["diagnostics", "recipes"])
def test_catalog_is_a_list_of_objects(what):
    assert json.loads(run("catalog", what, "--json").stdout) == catalog(what)


@pytest.mark.parametrize("command", ["demo", "diagnose", "train", "report", "serve", "catalog"])
def test_help_explains(command):
    done = run(command, "--help")
    assert done.returncode == 0
    assert len(done.stdout) > 200


def test_report_notebook_and_python_show_the_same_numbers(demo_runs, tmp_path):
    """The notebook is executed by papermill in a real kernel; its page needs no network."""
    run_ = demo_runs["infonce"]
    done = run("report", run_.path, "-o", tmp_path / "r.ipynb", "--split", "validation")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "r.html").read_text()
    value = run_.report("validation").value("recall_at_1", "sketch", "color")
    assert f'<td class="n">{value:.3f}</td>' in page
    rest = page.replace(re.search(r"<script>.*?</script>", page, re.S).group(0), "")
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', rest)
    assert "What changed in training?" in page
    assert "<math" in page


def test_labels_cannot_inject_html(tmp_path):
    es = planted(n=30, modalities=("image", "text"))
    evil = "<script>alert(1)</script>"
    es.items["name"] = [evil] * 30
    es = wb.EmbeddingSet({m: es[m] for m in es.modalities}, es.items)
    es.save(tmp_path / "s")
    done = run("diagnose", tmp_path / "s", "--html", tmp_path / "p.html")
    assert done.returncode == 0, done.stderr
    assert evil not in (tmp_path / "p.html").read_text()
    from workbench.views.page import map_of, worst

    assert evil not in map_of(es) + worst(wb.diagnose(es), es.items)


def test_notebooks_carry_no_outputs():
    import nbformat

    from workbench.batch import notebooks

    for file in notebooks.folder().glob("*.ipynb"):
        nb = nbformat.read(file, as_version=4)
        assert not any(c.get("outputs") for c in nb.cells), file
        assert "parameters" in nb.cells[0].metadata.get("tags", []), file
