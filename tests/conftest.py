import os
import shutil
import sys

os.environ.setdefault("WORKBENCH_QUIET", "1")
os.environ.setdefault("MPLBACKEND", "agg")

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from hypothesis import settings

import workbench as wb

settings.register_profile("workbench", deadline=None)  # machines are slow when others work on them
settings.load_profile("workbench")
sys.modules.setdefault("rfc3987_syntax", None)  # as the command line does: it takes seconds and nothing needs it


def planted(n=61, d=12, seed=0, gap=0.4, noise=0.7, modalities=("image", "text", "audio"), families=None):
    """A set with a shared signal, noise and an offset a modality; families of two where asked for."""
    g = torch.Generator().manual_seed(seed)
    base = torch.randn(n, d, generator=g)
    vectors = {}
    for k, m in enumerate(modalities):
        offset = torch.randn(d, generator=g)
        vectors[m] = base + noise * torch.randn(n, d, generator=g) + gap * k * offset
    items = pd.DataFrame({"id": [f"i{i}" for i in range(n)]})
    if families:
        items["family"] = [f"f{i // families}" for i in range(n)]
    return wb.EmbeddingSet(vectors, items)


def ragged(seed=0):
    """Items with several captions, with none, and with no image."""
    rng = np.random.default_rng(seed)
    n, d = 40, 8
    base = rng.standard_normal((n, d))
    image_rows = np.array([i for i in range(n) if i % 7])
    text_rows = np.array([i for i in range(n) for _ in range(i % 3)])
    image = base[image_rows] + 0.5 * rng.standard_normal((len(image_rows), d))
    text = base[text_rows] + 0.5 * rng.standard_normal((len(text_rows), d))
    items = pd.DataFrame({"id": [str(i) for i in range(n)], "family": [f"f{i // 3}" for i in range(n)]})
    return wb.EmbeddingSet({"image": image, "text": text}, items, rows={"image": image_rows, "text": text_rows})


def duplicated(n=64, d=6):
    """Three modalities of ten rows a dimension; rows of other items come again, exactly and nearly, in each."""
    es = planted(n=n, d=d, families=3)
    g = torch.Generator().manual_seed(1)
    vectors = {}
    for k, m in enumerate(es.modalities):
        x = es[m].clone()
        x[40 : 44 + k] = 2 * x[: 4 + k]  # the same direction: 8, 10 and 12 rows coincide
        x[50:56] = x[20:26] + 0.03 * torch.randn(6, d, generator=g)
        vectors[m] = x
    return wb.EmbeddingSet(vectors, es.items)


def with_roles(seed=0):
    """Three raw clusters of different size for the cluster indices."""
    g = torch.Generator().manual_seed(seed)
    sizes = (20, 15, 12)
    x = torch.cat([torch.randn(n, 6, generator=g) + 2 * k for k, n in enumerate(sizes)])
    role = np.repeat(["ok", "bad", "adv"], sizes)
    order = torch.randperm(len(x), generator=g)
    return wb.EmbeddingSet({"hidden": x[order]}, pd.DataFrame({"role": role[order.numpy()]}))


ROLES = {"safe": ["ok"], "unsafe": ["bad"], "jailbreak": ["adv"]}


# files whose tests take longest, longest first; two processes take a file each, and none should begin the longest last
LONGEST = ["app", "batch", "papers", "notebooks", "training", "executors", "diagnostics", "jupyterlab", "cli"]


def pytest_collection_modifyitems(items):
    order = {f"test_{name}.py": k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="session")
def emoji():
    return wb.dataset("emoji")


@pytest.fixture(scope="session")
def demo_runs(tmp_path_factory):
    """Two short runs on the real set, trained by the first test process that asks; each process has a copy."""
    base = tmp_path_factory.getbasetemp()
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "demo-runs"
    names = ("infonce", "gram")
    with FileLock(f"{made}.lock"):
        for name in names:
            if not (made / name).exists():  # there under its name once it is whole
                part = wb.train(
                    name, out=made / f"{name}.part", modalities=["text", "color", "sketch"], steps=60, evaluate=20
                )
                part.path.rename(made / name)
    own = tmp_path_factory.mktemp("runs")
    return {name: wb.Run(shutil.copytree(made / name, own / name)) for name in names}
