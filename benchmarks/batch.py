"""What a notebook in a batch costs more than papermill alone, which neither exports nor survives anything."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import workbench as wb
from benchmarks.timing import ratios
from workbench.batch import batch
from workbench.batch.notebooks import folder

COUNT, ROUNDS = 6, 3


def overhead() -> list[dict]:
    """Six report notebooks one after the other: by papermill's own command, and by a batch with one worker."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        sets = [str(wb.testing.planted(items=400, gap=0.1 * k).save(root / f"s{k}")) for k in range(COUNT)]
        report = folder() / "report.ipynb"

        def bare() -> None:
            for k, one in enumerate(sets):
                words = [str(report), str(root / f"bare{k}.ipynb"), "-p", "set", one]
                subprocess.run([sys.executable, "-m", "papermill", *words], check=True, capture_output=True)

        def whole() -> None:
            shutil.rmtree(root / "out", ignore_errors=True)
            assert batch(report, root / "out", grid={"data": sets}).ok

        found = ratios({"papermill": bare, "batch": whole}, ROUNDS)
    seconds, ratio = found["batch"]
    bare_seconds = found["papermill"][0] / COUNT
    return [
        {
            "what": "a report notebook in a batch (own process, manifest, HTML) against `papermill` alone",
            "measured": f"{ratio:.2f} × ({seconds / COUNT:.1f} s against {bare_seconds:.1f} s)",
            "target": "≤ 1.10 ×",
        }
    ]


if __name__ == "__main__":
    print(overhead())
