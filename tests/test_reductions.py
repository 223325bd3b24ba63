"""Reductions of a tile: the compiled loops say what the tensors say, from either side; no edge loses a neighbour."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.test_diagnostics import planted, ragged
from workbench.scan import reductions
from workbench.scan.reductions import plain
from workbench.scan.reductions.own import Own
from workbench.scan.reductions.plain import FAR, NONE

pytest.importorskip("numba", reason="nothing is compiled without numba", exc_type=ImportError)
from workbench.scan.reductions import compiled  # noqa: E402


@st.composite
def tiles(draw):
    """Scores seen from either side, own ranges of both, allowed keys; sometimes of few values, so that many tie."""
    q, k = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    s = torch.from_numpy(rng.uniform(-1, 1, (q, k))).float()
    if draw(st.booleans()):
        s = (s * 4).round() / 4
    if draw(st.booleans()):  # the view from the keys
        s = s.T.contiguous().T
    own = None
    if draw(st.booleans()):
        items = draw(st.integers(1, 400))
        own = Own.of(*(torch.from_numpy(np.sort(rng.integers(0, items, n))) for n in (q, k)))
    return s, own, rng


@settings(deadline=None, max_examples=60)
@given(tiles(), st.sampled_from([0.5, 4.0, 20.0, 36.0, 90.0]), st.booleans())
def test_potentials(tile, scale, within):
    s, _, rng = tile
    same = None
    if within:
        same = torch.from_numpy(rng.integers(-1, s.shape[1], len(s)))
    s = s.contiguous()
    for mine, twin in zip(compiled.potentials(s, scale, same), plain.potentials(s, scale, same), strict=True):
        torch.testing.assert_close(mine, twin, rtol=5e-6, atol=1e-30)


@pytest.mark.parametrize("kinds", [(torch.float32, torch.float32), (torch.float16, torch.float32)])
def test_products_of_chosen_rows(kinds):
    rng = np.random.default_rng(0)
    x, y = (torch.from_numpy(rng.standard_normal((n, 37))).to(kind) for n, kind in zip((50, 30), kinds, strict=True))
    i, j = (torch.from_numpy(rng.integers(0, n, 5_000)) for n in (50, 30))
    want = [sum(float(a) * float(b) for a, b in zip(x[p], y[q], strict=True)) for p, q in zip(i[:40], j, strict=False)]
    for form in (plain, compiled):
        found = form.dots(x[:, :], i, y[:, :], j)
        assert found[:40].numpy() == pytest.approx(want, rel=1e-12, abs=1e-13)
        assert len(form.dots(x, i[:0], y, j[:0])) == 0
    turned = x.T.contiguous().T  # whose rows do not lie side by side
    assert torch.equal(compiled.dots(turned, i, y, j), compiled.dots(x, i, y, j))


@settings(deadline=None, max_examples=60)
@given(tiles())
def test_counts_and_what_lies_between(tile):
    s, own, rng = tile
    low = torch.from_numpy(rng.uniform(-1, 1, len(s))).float()
    high = low + torch.from_numpy(rng.choice([0.0, 0.01, 0.3, 3.0], len(s))).float()
    thresholds = torch.stack([low, high])
    mine, twin = (m.above(s, thresholds, own) for m in (compiled, plain))
    assert torch.equal(mine, twin)
    near = mine[0] - mine[1]
    found = [
        set(zip(*(x.tolist() for x in m.between(s, low, high, near, own)), strict=True)) for m in (compiled, plain)
    ]
    assert found[0] == found[1]
    assert len(found[0]) == int(near.sum())


@settings(deadline=None, max_examples=60)
@given(tiles(), st.integers(1, 40), st.booleans())
def test_the_best(tile, k, some):
    s, own, rng = tile
    allowed = torch.from_numpy(rng.random(s.shape[1]) < 0.5) if some else None
    index = torch.arange(s.shape[1]) + 1000
    (score, at), (twin, _) = (m.best(s, index, k, own, allowed, torch.full((len(s),), FAR)) for m in (compiled, plain))
    assert torch.equal(score, twin)
    assert torch.equal(at == NONE, score <= FAR)
    there = at != NONE
    rows = torch.arange(len(s))[:, None].expand_as(at)[there]
    assert torch.equal(s[rows, at[there] - 1000], score[there]), "the index is that of the score"
    for row in at:
        known = row[row != NONE].tolist()
        assert len(set(known)) == len(known)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 14), st.integers(0, 2**31), st.booleans(), st.booleans())
def test_edges_that_rise_from_tile_to_tile_lose_nobody(k, seed, coarse, back):
    """The best of all keys, whichever tiles raised the edge before; of equals those that come first."""
    rng = np.random.default_rng(seed)
    s = torch.from_numpy(rng.uniform(-1, 1, (60, 900))).float()
    if coarse:
        s = (s * 8).round() / 8
    edge, parts = torch.full((60,), FAR), []
    cuts = [0, 200, 500, 550, 900]
    for i in rng.permutation(4):
        part = s[:, cuts[i] : cuts[i + 1]]
        part = part.T.contiguous().T if back else part.contiguous()
        parts.append((i, compiled.best(part, torch.arange(cuts[i], cuts[i + 1]), k, None, None, edge)))
    score, index = (torch.cat([found[x] for _, found in sorted(parts, key=lambda p: p[0])], 1) for x in (0, 1))
    kept = torch.argsort(score, dim=1, descending=True, stable=True)[:, :k]
    order = torch.argsort(s, dim=1, descending=True, stable=True)[:, :k]
    assert torch.equal(score.gather(1, kept), s.gather(1, order))
    assert torch.equal(index.gather(1, kept), order)


@settings(deadline=None, max_examples=40)
@given(tiles())
def test_histogram(tile):
    s, own, _ = tile
    s = (s * 20).round() / 20 + 0.003  # off the bounds of the bins, where rounding decides
    assert torch.equal(compiled.histogram(s, 100, own), plain.histogram(s, 100, own))


@settings(deadline=None, max_examples=40)
@given(tiles(), st.sampled_from([0.002, 0.01, 0.07, 1.0]))
def test_shifted(tile, temperature):
    s, own, rng = tile
    n = 5

    def draw(low, high, size):
        return torch.from_numpy(rng.uniform(low, high, (n, size))).float()

    keys = (draw(-0.3, 0.3, s.shape[1]), draw(0.5, 1.0, s.shape[1]))
    queries, edge = (draw(-0.3, 0.3, len(s)), draw(0.3, 0.6, len(s))), draw(-0.5, 0.5, len(s))
    (count, total), (twin_count, twin_total) = (
        m.shifted(s, keys, queries, edge, temperature, own) for m in (compiled, plain)
    )
    assert (count - twin_count).abs().max() <= 1  # a fused multiplication rounds once less
    torch.testing.assert_close(total, twin_total, rtol=3e-4 if temperature < 0.01 else 5e-5, atol=1e-300)


@pytest.mark.parametrize("make", [planted, ragged], ids=["aligned", "ragged"])
def test_a_report_is_the_same_with_and_without_numba(make, monkeypatch):
    reports = []
    for least in (0, 10**12):
        monkeypatch.setattr(reductions, "WORTHWHILE", least)
        reports.append(wb.diagnose(make()))
    mine, twin = (r.frame.set_index(["name", "modalities"])["value"] for r in reports)
    assert list(mine.index) == list(twin.index)
    np.testing.assert_allclose(mine.to_numpy(), twin.to_numpy(), rtol=1e-5, atol=1e-6, equal_nan=True)
    assert [f.rule for f in reports[0].findings] == [f.rule for f in reports[1].findings]


def test_without_numba_tensors_do_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    for name in ("loops", "compiled"):
        monkeypatch.delitem(sys.modules, f"workbench.scan.reductions.{name}")
        monkeypatch.delattr(reductions, name)
    assert reductions.reductions_for(torch.device("cpu"), 10**9) is plain


@pytest.mark.slow
def test_a_cold_compile_is_said_once_and_takes_seconds(tmp_path):
    code = (
        "import time, torch, workbench as wb\n"
        "x = torch.randn(2_100, 16)\n"
        "wb.diagnose({'a': x, 'b': x + torch.randn(2_100, 16)}, only=['uniformity', 'recall_at_1'])"
    )
    own = {k: v for k, v in os.environ.items() if k != "WORKBENCH_QUIET"} | {"NUMBA_CACHE_DIR": str(tmp_path)}
    said = [subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True) for _ in "ab"]
    assert [s.returncode for s in said] == [0, 0]
    assert ["compiled for this machine" in s.stderr for s in said] == [True, False]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 6), st.booleans())
def test_distances_by_class(seed, classes, ties):
    """Both forms against loops: the extremes and where they are, and how distances within a class are spread."""
    rng = np.random.default_rng(seed)
    n, m = rng.integers(0, 40, 2)
    d = torch.from_numpy(rng.uniform(0, 4, (n, m)))
    d = d.round() if ties else d
    a, b = (torch.from_numpy(rng.integers(0, classes, k)) for k in (n, m))
    same = torch.from_numpy(rng.integers(-1, max(m, 1), n))
    radius = torch.from_numpy(rng.choice([0.0, 0.6, 2.0], classes))
    for form in (plain, compiled):
        got = form.by_class(d, a, b, same, radius, 8)
        most, count = torch.zeros(classes).double(), torch.zeros(classes, 8).double()
        least = torch.full((classes, classes), torch.inf).double()
        for i in range(n):
            for j in range(m):
                if a[i] != b[j]:
                    least[a[i], b[j]] = min(least[a[i], b[j]], d[i, j])
                    continue
                most[a[i]] = max(most[a[i]], d[i, j])
                if radius[a[i]] > 0 and j != same[i]:
                    count[a[i], min(int(d[i, j].sqrt() / (2 * radius[a[i]]) * 8), 7)] += 1
        assert torch.equal(got.most, most)
        assert torch.equal(got.least, least)
        torch.testing.assert_close(got.spread.sum(1), count.sum(1))
        assert float((got.spread.cumsum(1) - count.cumsum(1)).abs().max() if count.numel() else 0) <= (
            20 if ties else 0
        )
        for value, at in ((got.most, got.most_at), (got.least, got.least_at)):
            there = at[..., 0] >= 0
            i, j = at[there].unbind(-1)
            assert torch.equal(d[i, j], value[there])
            assert bool((value[~there] == (0 if value.dim() == 1 else torch.inf)).all())
