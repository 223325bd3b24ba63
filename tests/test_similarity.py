"""Measures of two spaces: what no deal of the items changes is worked out once, the nulls stay those of plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from workbench.diagnostics.similarity import MEASURES, PERMUTATIONS, light, shuffled
from workbench.geometry import rotation


@st.composite
def spaces(draw):
    """Two spaces of some width over the same items, far from the origin or near, more or less alike; and two halves,
    which may be of fewer rows than the widths: then many rotations are the best one."""
    n, d, e = draw(st.integers(20, 60)), draw(st.integers(1, 24)), draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    x = rng.standard_normal((n, d))
    y = draw(st.sampled_from([0.0, 1.0])) * x @ rng.standard_normal((d, e)) + rng.standard_normal((n, e))
    offset = draw(st.sampled_from([0.0, 3.0]))
    half = (rng.random(n) < 0.4).astype(int)
    half[:16] = [0, 1] * 8
    return torch.from_numpy(x + offset), torch.from_numpy(y + offset), torch.from_numpy(half)


def turned_by_loops(x, y, half):
    """Held-out Procrustes over both halves: of rotations that fit equally well one and, in what the fit leaves open,
    its reverse; their mean is that of all."""
    d = max(x.shape[1], y.shape[1])
    x, y = (np.pad(z, ((0, 0), (0, d - z.shape[1]))) for z in (x, y))
    wrong = total = 0.0
    for judged in (0, 1):
        fit, held = half != judged, half == judged
        a, b = x[fit] - x[fit].mean(0), y[fit] - y[fit].mean(0)
        u, sigma, v = np.linalg.svd(a.T @ b)
        known = np.linalg.matrix_rank(a.T @ b)
        scale = sigma.sum() / (a**2).sum()
        for sign in (1.0, -1.0):
            rotation = u @ np.diag(np.where(np.arange(d) < known, 1.0, sign)) @ v
            for p, q in zip(x[held], y[held], strict=True):
                missed = q - y[fit].mean(0) - scale * (p - x[fit].mean(0)) @ rotation
                wrong += missed @ missed / 2
        total += ((y[held] - y[fit].mean(0)) ** 2).sum()
    return 1 - wrong / total


@given(spaces())
def test_procrustes_is_the_mean_of_the_rotations_that_fit(both):
    x, y, half = both
    found = MEASURES["procrustes_r2"].value(x, y, half)
    assert found == pytest.approx(turned_by_loops(x.numpy(), y.numpy(), half.numpy()), abs=1e-7)


@given(spaces(), st.integers(0, 2**31))
def test_a_deal_is_the_measure_of_the_rows_in_that_order(both, seed):
    x, y, half = both
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(x)))
    for name, measure in MEASURES.items():
        want = measure.value(x, y[order], half)
        assert measure.dealt(x, y, half)(order) == pytest.approx(want, abs=2e-4, nan_ok=True), name


def test_light_rows_lose_less_than_a_null_scatters_by():
    rng = np.random.default_rng(0)
    base = rng.standard_normal((600, 24))
    x, y = (torch.from_numpy(base + 0.5 * rng.standard_normal((600, 24)) + 4.0) for _ in "xy")
    half = torch.arange(600) % 2
    order = torch.from_numpy(rng.permutation(600))
    for name in ("cka", "procrustes_r2"):
        low, _, high = shuffled(MEASURES[name].dealt(x, y, half), 600)
        exact = MEASURES[name].value(x, y[order], half)
        assert abs(MEASURES[name].dealt(x, y, half)(order) - exact) < (high - low) / 1000
    assert light(x).dtype == torch.float32


def test_the_null_is_that_of_a_loop_over_shuffled_rows():
    rng = np.random.default_rng(1)
    x, y = (torch.from_numpy(rng.standard_normal((50, 5))) for _ in "xy")
    half = torch.arange(50) % 2
    deals = np.random.default_rng(0)
    orders = [deals.permutation(50) for _ in range(PERMUTATIONS)]
    for measure in MEASURES.values():
        drawn = [measure.value(x, y[torch.from_numpy(o)], half) for o in orders]
        assert shuffled(measure.dealt(x, y, half), 50) == pytest.approx(np.percentile(drawn, [2.5, 50, 97.5]), abs=1e-5)


def test_rank_correlation_of_similarities_is_scipys():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((30, 6)), rng.standard_normal((30, 6))
    u, v = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    upper = np.triu_indices(30, 1)
    want = spearmanr((u @ u.T)[upper], (v @ v.T)[upper]).statistic
    found = MEASURES["rsa"].value(torch.from_numpy(x), torch.from_numpy(y), torch.arange(30) % 2)
    assert found == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize("rows", [3, 6, 40])
def test_a_rotation_of_few_rows_turns_the_rest_as_little_as_it_can(rows):
    """The rows are brought together, lengths are kept, and rows that are together already are not turned at all."""
    rng = np.random.default_rng(3)
    x, y = (torch.from_numpy(rng.standard_normal((rows, 8))) for _ in "xy")
    turn = rotation(x.T @ y, rows + 1)
    torch.testing.assert_close(turn @ turn.T, torch.eye(8, dtype=torch.float64))
    u, _, v = torch.linalg.svd(x.T @ y)
    assert float(((x @ turn) * y).sum()) == pytest.approx(float(((x @ (u @ v)) * y).sum()))
    assert float(turn.trace()) >= float((u @ v).trace()) - 1e-9
    torch.testing.assert_close(rotation(x.T @ x, rows + 1), torch.eye(8, dtype=torch.float64))
