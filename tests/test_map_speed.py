"""A million pairs on the map, with software rendering: what the first paint, the whole and movement take."""

import time

import numpy as np
import pandas as pd
import pytest
import torch

from tests.browser import needs_browser, opened, stage
from workbench.sets.embeddings import EmbeddingSet

pytestmark = [*needs_browser, pytest.mark.slow]

PAGE = """
import sys, panel as pn
from workbench.app.face import Face
from workbench.explorer.inspection import inspection
from workbench.workspace.visit import Visit
pn.extension()
visit = Visit(inspection(sys.argv[1]))
pn.serve(lambda: Face(visit), port=int(sys.argv[2]), show=False)
"""


def test_a_million_pairs(tmp_path):
    import subprocess
    import sys
    import urllib.request

    n = 1_000_000
    shared = torch.randn(n, 8, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(2, n, 8, generator=torch.Generator().manual_seed(1))
    vectors = {"image": shared + noise[0] / 2 + 0.3, "text": shared + noise[1] / 2}
    EmbeddingSet(vectors, pd.DataFrame({"id": np.arange(n).astype(str)})).save(tmp_path / "set")
    (tmp_path / "page.py").write_text(PAGE)
    port = 18_951
    process = subprocess.Popen([sys.executable, str(tmp_path / "page.py"), str(tmp_path / "set"), str(port)])
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=60)
                break
            except OSError:
                time.sleep(0.5)
        with opened(tmp_path / "profile") as page:
            page.goto(f"http://127.0.0.1:{port}", timeout=60_000)
            map_ = stage(page)
            map_.evaluate("e => e.__map.spin(90)")
            page.wait_for_timeout(6_000)
            figures = map_.evaluate("e => e.__map.figures()")
    finally:
        process.terminate()
        process.wait(20)
    print(figures)
    assert figures["points"] == 2 * n
    assert figures["first_ms"] < 2_000
    assert figures["all_ms"] < 4_000
    assert figures["moving_fps"] >= 25
    assert figures["moving_points"] >= 4_000
