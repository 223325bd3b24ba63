"""A small notebook with a cell of parameters, written where a test wants it."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

CELL = """x: int = 1  # a number
how: str = "well"  # well, badly, never, or big
"""
BODY = """
import os, time
from workbench.batch import record
if how == "badly": raise ValueError(f"{x} went badly")
if how == "never": time.sleep(600)
if how == "big": print("#" * 3_000_000)
if how == "alone":
    import subprocess, sys
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    time.sleep(600)
while os.path.exists(f"{os.environ.get('HOLD')}-{x}"): time.sleep(0.05)
record(numbers={"square": x * x}, gpu=os.environ.get("CUDA_VISIBLE_DEVICES"))
print("square", x * x)
"""


def notebook(folder: Path, cell: str = CELL, *bodies: str, name: str = "small") -> Path:
    cells = [new_code_cell(cell, metadata={"tags": ["parameters"]}), *map(new_code_cell, bodies or (BODY,))]
    file = folder / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells), str(file))
    return file
