"""Which rows are one item, in every face: equal ids are one item, an exact repeat counts once."""

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.integrations import clip_metrics
from workbench.sets.grouping import of_rows

torchmetrics = pytest.importorskip("torchmetrics")
from workbench.integrations import DiagnosticMetric  # noqa: E402

N, D = 40, 16


def captions(seed, most=5):
    """Pictures repeated beside their captions, one row a caption; how many an item has differs."""
    draw = np.random.default_rng(seed)
    owner = np.repeat(np.arange(N), draw.integers(1, most + 1, N))
    picture = draw.normal(size=(N, D)).astype(np.float32)
    text = (picture[owner] + 1.5 * draw.normal(size=(len(owner), D))).astype(np.float32)
    return picture[owner], text, owner


def recall(x, y, ids):
    """R@1 both ways by loops over what each id has, an exact repeat once."""
    have = [{}, {}]
    for rows, seen in zip((x, y), have, strict=True):
        for row, i in zip(rows, ids, strict=True):
            mine = seen.setdefault(i, [])
            if not any((row == r).all() for r in mine):
                mine.append(row)
    out = []
    for queries, keys in (have, have[::-1]):
        hits = []
        for i, mine in queries.items():
            for q in mine:
                cosine = {(j, k): q @ r / np.linalg.norm(r) for j, rs in keys.items() for k, r in enumerate(rs)}
                hits.append(max(cosine, key=cosine.get)[0] == i)
        out.append(np.mean(hits))
    return out


def faces(x, y, ids, order):
    """R@1 both ways as each face has it, in batches."""
    x, y, ids = torch.from_numpy(x[order]), torch.from_numpy(y[order]), np.asarray(ids)[order]
    found = clip_metrics(x, y, ids=ids)
    yield [found["image_to_text_R@1"], found["text_to_image_R@1"]]
    acc = wb.Accumulator(["recall_at_1"])
    forth, back = DiagnosticMetric("recall_at_1"), DiagnosticMetric("recall_at_1", ("text", "image"))
    for at in np.array_split(np.arange(len(ids)), 4):
        acc.update({"image": x[at], "text": y[at]}, ids=torch.from_numpy(ids[at]))
        forth.update(x[at], y[at], ids=ids[at])
        back.update(y[at], x[at], ids=[str(i) for i in ids[at]])
    report = acc.compute()
    yield [report.value("recall_at_1", "image", "text"), report.value("recall_at_1", "text", "image")]
    yield [float(forth.compute()), float(back.compute())]
    es = of_rows({"image": x, "text": y}, ids.tolist(), source="here")
    report = wb.diagnose(es, only=["recall_at_1"])
    yield [report.value("recall_at_1", "image", "text"), report.value("recall_at_1", "text", "image")]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["captions", "padded", "mixed"])
def test_every_face_has_the_value_of_the_loops(seed, kind):
    x, y, ids = captions(seed, 1 if kind == "padded" else 5)
    order = np.arange(len(ids))
    if kind != "captions":
        order = np.concatenate([order, order[:7]])  # a sampler that pads the last batch
    if kind == "mixed":
        order = np.random.default_rng(seed).permutation(order)
    right = recall(x[order], y[order], ids[order])
    for found in faces(x, y, ids, order):
        assert np.allclose(found, right)


def test_unique_ids_change_nothing():
    x, y, ids = captions(0, 1)
    plain = clip_metrics(torch.from_numpy(x), torch.from_numpy(y))
    assert clip_metrics(torch.from_numpy(x), torch.from_numpy(y), ids=ids) == plain


def test_columns_are_those_of_the_first_row():
    acc = wb.Accumulator(["recall_at_1"])
    acc.update({"a": torch.eye(3), "b": torch.eye(3)}, ids=["p", "p", "q"], kind=["u", "v", "w"])
    es = acc.embeddings()
    assert es.items[["id", "kind"]].to_numpy().tolist() == [["p", "u"], ["q", "w"]]


def test_ids_that_do_not_fit_are_refused_in_one_sentence():
    x = torch.eye(4)
    metric = DiagnosticMetric("recall_at_1")
    with pytest.raises(wb.InputError, match="3 ids for 4 rows"):
        metric.update(x, x, ids=[1, 2, 3])
    metric.update(x, x)
    with pytest.raises(wb.InputError, match="all or none"):
        metric.update(x, x, ids=[1, 2, 3, 4])
    acc = wb.Accumulator(["recall_at_1"])
    acc.update({"a": x, "b": x})
    acc.update({"a": x, "b": x}, ids=[1, 2, 3, 4])
    with pytest.raises(wb.InputError, match="all or none"):
        acc.compute()
