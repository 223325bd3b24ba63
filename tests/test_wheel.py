"""A wheel holds all it needs: data, notebooks, templates, modules in JavaScript; it runs outside the checkout."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel that is built from it alone."""
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(out)], cwd=ROOT, check=True)
    (sdist,) = out.glob("workbench-*.tar.gz")
    with tarfile.open(sdist) as t:
        t.extractall(out / "from", filter="data")
    (source,) = (out / "from").iterdir()
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)], cwd=source, check=True)
    (wheel,) = out.glob("workbench-*.whl")
    return sdist, wheel


def test_the_wheel_made_of_the_sdist_holds_every_file_of_the_package(built):
    files = subprocess.run(
        ["git", "ls-files", "workbench", "notebooks", "data"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    with zipfile.ZipFile(built[1]) as z:
        held = set(z.namelist())
    for file in files:
        if file.startswith("workbench/"):
            assert file in held
        elif file.startswith("notebooks/") or file == "data/emoji.parquet":
            assert f"workbench/{file}" in held


@pytest.mark.slow
def test_the_wheel_runs_the_demo_in_a_clean_environment(built, tmp_path):
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    pip = [
        str(python),
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "-c",
        str(ROOT / "constraints.txt"),
    ]
    subprocess.run([*pip, "torch"], check=True)
    subprocess.run([*pip, str(built[1])], check=True)
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(home / "bin" / "workbench"), "demo", "--quick"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "comparison.html").stat().st_size > 1_000_000
