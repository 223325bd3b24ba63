"""The command line: JSON, sentences, exit codes, pages, notebooks."""

import json
import math
import re
import shlex

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from tests.commands import run, run_process
from tests.conftest import planted
from workbench.cli.base import app, examples
from workbench.cli.catalog import catalog
from workbench.report.finding import verdict

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
    "reference",
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
    assert re.search(r"image → text +\d\.\d+ \[", out)


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


@pytest.mark.parametrize("command", sorted(examples))
def test_help_begins_with_a_line_that_runs(command):
    done = run(command, "--help")
    assert done.returncode == 0
    shown = " ".join(done.stdout.replace("│", " ").split())
    usage, _, rest = shown.partition("[OPTIONS]")
    assert usage.startswith("Usage: workbench"), usage
    assert examples[command] in " ".join(rest.split()[:40])
    parsed = parse(examples[command])
    assert parsed.info_name == command


def parse(text):
    """The context of a command line that click accepts: command, arguments and options exist."""
    from typer.main import get_command

    program, *words = shlex.split(text)
    assert program == "workbench"
    group = get_command(app)
    name, command, rest = group.resolve_command(group.make_context("workbench", [], resilient_parsing=True), words)
    return command.make_context(name, rest, resilient_parsing=False)


def test_without_a_command_there_is_the_help_and_no_error():
    done = run()
    assert done.returncode == 0
    assert done.stderr == ""
    places = [done.stdout.index(f"─ {panel} ─") for panel in ("Look", "Compare and change", "Train", "Data", "Papers")]
    assert len(set(places)) == 5
    assert "--install-completion" in done.stdout


def test_the_version_is_that_of_the_package():
    done = run_process("--version")
    assert (done.returncode, done.stdout) == (0, f"workbench {wb.__version__}\n")


@pytest.mark.parametrize(
    "command", ["diagnose", "train", "report", "compare", "intervene", "batch", "export", "convert"]
)
def test_a_command_without_its_argument_says_how_it_goes(command):
    done = run(command)
    assert done.returncode == 2
    first, usage, example, more = done.stderr.strip().splitlines()
    assert first.startswith("workbench: Missing argument")
    assert len(first.split(": ")) > 2, "what may stand there"
    assert command in usage
    assert example.strip() == f"such as  {examples[command]}"
    assert more.strip() == f"more     workbench {command} --help"


# -- the first hour ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """Files as a newcomer has them: 300 pairs of 32 dimensions."""
    folder = tmp_path_factory.mktemp("mine")
    draw = np.random.default_rng(0)
    shared = draw.standard_normal((300, 32))
    image, text = (shared + 0.5 * draw.standard_normal((300, 32)) for _ in range(2))
    np.save(folder / "image.npy", image.astype("f4"))
    np.save(folder / "text.npy", text.astype("f4"))
    np.save(folder / "wide.npy", draw.standard_normal((300, 48)).astype("f4"))
    holes = image.astype("f4")
    holes[[3, 5]] = np.nan
    holes[7] = 0
    np.savez(folder / "holes.npz", image=holes, text=text.astype("f4"))
    frame = pd.DataFrame({"image": list(image), "text": list(text), "kind": draw.choice(list("abc"), 300)})
    frame.to_parquet(folder / "pairs.parquet")
    captions = frame.loc[frame.index.repeat(3)].reset_index(drop=True)
    captions["picture"] = [f"p{k // 3}" for k in range(900)]
    captions["text"] = list(np.stack(captions["text"]) + 0.2 * draw.standard_normal((900, 32)))
    captions.to_parquet(folder / "captions.parquet")
    return folder


def test_a_first_look_fits_a_screen_and_says_what_to_do_next(mine):
    done = run("diagnose", "pairs.parquet", "-p", "uniformity.t=3", cwd=mine)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) < 260
    assert lines[0].startswith("pairs.parquet   300 items · image 300×32, text 300×32 · paired by row order")
    report = wb.diagnose(str(mine / "pairs.parquet"), params={"uniformity": {"t": 3}})
    assert lines[2] == verdict(report.findings)
    assert done.stdout.index("recall_at_1") < done.stdout.index("modality_gap") < done.stdout.index("next  ")
    assert "next  workbench diagnose pairs.parquet -p uniformity.t=3 --all" in done.stdout
    offered = re.search(r"--label kind adds (\d+) more", done.stdout)
    labelled = wb.diagnose(str(mine / "pairs.parquet"), label="kind").frame
    bare = report.frame
    gained = set(labelled.loc[labelled["reason"].isna(), "name"]) - set(bare.loc[bare["reason"].isna(), "name"])
    assert int(offered.group(1)) == len(gained)


def test_all_shows_every_number(mine):
    out = run("diagnose", "pairs.parquet", "--all", cwd=mine).stdout
    frame = wb.diagnose(str(mine / "pairs.parquet")).frame
    for name in frame["name"].unique():
        assert name in out


def test_two_files_are_a_pair(mine):
    done = run("diagnose", "image.npy", "text.npy", "--json", mine / "two.json", cwd=mine)
    assert done.returncode == 0, done.stderr
    two = json.loads((mine / "two.json").read_text())
    assert list(two["about"]["modalities"]) == ["image", "text"]
    one = wb.diagnose({m: np.load(mine / f"{m}.npy") for m in ("image", "text")})
    value = next(r["value"] for r in two["results"] if r["name"] == "modality_gap")
    assert value == pytest.approx(one.value("modality_gap", "image", "text"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("image.npy",), "there is only image; give its partner too: workbench diagnose"),
        (("image.npy", "wide.npy"), "different spaces: image 32-d, wide 48-d; bring them into one first"),
    ],
)
def test_what_is_not_paired_is_said_and_never_called_healthy(mine, words, said):
    done = run("diagnose", *words, cwd=mine)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert "nothing is paired" in done.stdout
    assert "healthy" not in done.stdout


def test_several_captions_of_a_picture_are_rows_of_one_item(mine):
    json_file = mine / "captions.json"
    done = run("diagnose", "captions.parquet", "--item", "picture", "--json", json_file, cwd=mine)
    assert done.returncode == 0, done.stderr
    assert "900 rows of 300 items, by column picture" in done.stdout
    found = json.loads(json_file.read_text())
    assert found["items"] == 300
    assert found["about"]["modalities"]["image"]["rows"] == 300
    assert found["about"]["modalities"]["text"]["rows"] == 900
    plain = run("diagnose", "captions.parquet", "--json", mine / "plain.json", cwd=mine)
    assert plain.returncode == 0

    def recall(f):
        return next(
            r["value"] for r in f["results"] if (r["name"], r["modalities"]) == ("recall_at_1", ["text", "image"])
        )

    assert recall(found) > 0.9 > recall(json.loads((mine / "plain.json").read_text())), (
        "a picture is no rival of itself"
    )


def test_rows_without_a_direction_are_named_and_can_be_left_out(mine):
    refused = run("diagnose", "holes.npz", cwd=mine)
    assert refused.returncode == 2
    assert "NaN at row 3" in refused.stderr
    assert "--drop-missing" in refused.stderr
    done = run("diagnose", "holes.npz", "--drop-missing", cwd=mine)
    assert done.returncode == 0, done.stderr
    assert "image is missing for 3 of 300 items" in done.stdout
    assert "next  workbench diagnose holes.npz --drop-missing --all" in done.stdout


def test_about_says_what_a_report_of_a_problem_needs(mine):
    out = run("about", "pairs.parquet", cwd=mine).stdout
    assert wb.load(mine / "pairs.parquet").fingerprint in out
    for name in ("workbench", "torch", "pandas", "python"):
        assert re.search(rf"^{name} +\d", out, re.M)


def test_the_module_is_the_command():
    done = run_process("catalog", "formats")
    assert done.returncode == 0
    assert "parquet" in done.stdout


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


@pytest.mark.parametrize(
    "words",
    [
        ("train", "infonce", "-o", "runs/a", "--set", "data=x.parquet"),
        ("train", "infonce", "-o", "runs/a", "--set", "name=3"),
        ("sweep", "infonce", "-o", "runs", "--set", "out=elsewhere"),
        ("sweep", "infonce", "-o", "runs", "--grid", "seeds=3,4"),
        ("intervene", "set", "shift", "--set", "name=3"),
    ],
)
def test_what_is_asked_by_an_option_is_no_setting(words, tmp_path):
    planted(n=20).save(tmp_path / "set")
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"workbench: {words[-1].split('=')[0]} is no setting")
    assert not (tmp_path / "runs").exists()
