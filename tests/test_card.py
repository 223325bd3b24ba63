"""The kernel for cards, run by Triton's interpreter on the CPU: it answers what the tensors answer.

Needs Triton, which comes with torch for CUDA: `pip install triton` elsewhere. What it does on a card is for test_gpu.
"""

import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.conftest import planted, ragged
from workbench.scan import plan, reductions
from workbench.scan.asks import Best, Between, Histogram, Potentials, one_by_one
from workbench.scan.reductions import plain
from workbench.scan.reductions.plain import FAR
from workbench.scan.tile import Rows, Tile
from workbench.scan.view import SetView

os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")
from workbench.scan.reductions import card  # noqa: E402 (the interpreter is chosen as Triton is imported)


def exact_rows(es, m, rng):
    """Rows whose products float32 holds exactly, whatever the order of the sums."""
    x = torch.from_numpy(rng.integers(-4, 5, (len(es[m]), 12)) / 16).float()
    return Rows(SetView(es), m, torch.arange(len(es[m])), x)


@st.composite
def sides(draw):
    """A tile, within a modality or across two, with several rows an item or one."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    es = ragged() if draw(st.booleans()) else planted(n=draw(st.sampled_from([1, 70, 130])))
    a, b = es.modalities[0], draw(st.sampled_from(es.modalities[:2]))
    q = exact_rows(es, a, rng)
    k = q if a == b else exact_rows(es, b, rng)
    return Tile(q, k, reduce=plain), rng


def asked(tile, rng):
    """One of each question, from both sides."""
    out = []
    for side in (tile, tile.back()):
        n, m = len(side.q), len(side.k)
        low = torch.from_numpy(rng.integers(-8, 8, (2, n)) / 16).float()
        high = low + torch.from_numpy(rng.choice([0.0, 1 / 256, 1 / 8], (2, n))).float()
        allowed = torch.from_numpy(rng.random(m) < 0.7)
        edge = torch.from_numpy(rng.integers(-2, 3, n) / 16).float()
        out += [
            (side, Potentials(2.0)),
            (side, Between(low, high)),
            (side, Between(low, high, coarse=True)),
            (side, Best(3, True, None, edge)),
            (side, Best(5, False, allowed, edge.clone())),
            (side, Best(5, False, None, torch.full((n,), FAR))),
        ]
    return [*out, (tile, Histogram(100))]


@settings(deadline=None, max_examples=25)
@given(sides())
def test_the_kernel_answers_what_the_tensors_answer(drawn):
    tile, rng = drawn
    questions = asked(tile, rng)
    edges = [a.edge.clone() if isinstance(a, Best) else None for _, a in questions]
    got = card.answers(questions)
    wanted = one_by_one(questions)
    for (_, ask), mine, twin, edge in zip(questions, got, wanted, edges, strict=True):
        if isinstance(ask, Between):
            assert torch.equal(mine.more, twin.more)
            assert torch.equal(mine.near, twin.near)
            for p, q in zip(mine.pairs, twin.pairs, strict=True):
                assert (p is None) == (q is None)
                if p is not None:
                    assert set(zip(*(x.tolist() for x in p), strict=True)) == set(
                        zip(*(x.tolist() for x in q), strict=True)
                    )
        elif isinstance(ask, Best):
            # of places below the edge nobody asks
            assert torch.equal(
                mine[0].where(mine[0] >= edge[:, None], FAR), twin[0].where(twin[0] >= edge[:, None], FAR)
            )
            assert bool((mine[2] <= twin[2]).all())
        else:
            torch.testing.assert_close(mine, twin, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [planted, ragged])
def test_a_diagnosis_by_the_kernel_is_one_by_tensors(make, monkeypatch):
    """Small tiles, so that edges are warm for most of them; one thread, as the interpreter knows no other."""
    es = make()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    twin = wb.diagnose(es, exact=True)
    monkeypatch.setattr(plan, "reductions_for", lambda device, pairs: card)
    monkeypatch.setattr(plan.Scan.__init__, "__kwdefaults__", plan.Scan.__init__.__kwdefaults__ | {"tile": 48})
    mine = wb.diagnose(es, exact=True)
    for a, b in zip(mine.frame.to_dict("records"), twin.frame.to_dict("records"), strict=True):
        assert a["value"] == pytest.approx(b["value"], rel=1e-6, abs=1e-6, nan_ok=True), a["name"]


def test_the_kernel_proves_itself_before_it_is_used():
    assert card.proved(torch.device("cpu"))
    assert reductions.reductions_for(torch.device("cpu"), 10) is plain
