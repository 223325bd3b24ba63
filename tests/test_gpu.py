"""The script for a card, on what is there: its checks hold on the CPU, and one that fails is seen."""

from __future__ import annotations

import json
import math

import pytest

from benchmarks import gpu
from workbench.diagnostics.registry import diagnostics
from workbench.objectives.recipes import RECIPES


@pytest.mark.slow
def test_every_check_holds_at_small_size_and_every_part_is_timed(tmp_path):
    assert gpu.main(["--device", "cpu", "--small", "-o", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    checked = {p: [r["what"].split(" (")[0] for r in rows if r["part"] == p] for p in ("diagnostic", "recipe")}
    assert set(checked["recipe"]) == set(RECIPES)
    assert set(checked["diagnostic"]) == {n for n in diagnostics() if not n.startswith("avqi")}
    assert {r["part"] for r in rows if r.get("seconds")} == {"suite", "contrast"}
    assert "no card" in (tmp_path / "gpu.md").read_text()


def test_a_number_on_one_side_alone_is_an_error():
    assert gpu.error(math.nan, math.nan) == 0
    assert gpu.error(math.nan, 1.0) == math.inf
    assert not gpu.error(1.0, math.nan) <= gpu.EXACT
    assert gpu.error(2.02, 2.0) == pytest.approx(0.01)


def test_a_check_that_fails_is_told_by_the_exit_code_and_in_the_table(tmp_path, monkeypatch, capsys):
    rows = [gpu.checked("recipe", "good", 1e-9, gpu.FLOAT), gpu.checked("recipe", "bad", 0.5, gpu.FLOAT)]
    monkeypatch.setattr(gpu, "measured", lambda device, small: iter(rows))
    assert gpu.main(["--device", "cpu", "-o", str(tmp_path)]) == 1
    assert "bad   FAILS" in capsys.readouterr().out
    assert "| **fails** | recipe | 5.0e-01: bad |" in (tmp_path / "gpu.md").read_text()
