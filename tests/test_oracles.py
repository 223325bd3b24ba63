"""Numbers that others published or worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

import workbench as wb
from workbench.diagnostics import similarity as compare
from workbench.diagnostics import spectrum
from workbench.diagnostics.labels import davies_bouldin
from workbench.diagnostics.neighbours import overlap, skewness
from workbench.scan.executors import execute
from workbench.scan.plan import Scan
from workbench.scan.statistics import ClassMoments, ClassSpread, Neighbours

X = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.75**0.5, 0.0], [0.0, 0.6, 0.8]])


def on_circle(*degrees):
    a = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([a.cos(), a.sin()], 1)


A, B = on_circle(0, 10, 30, 70, 100), on_circle(0, 40, 25, 80, 100)


def neighbours(x, k):
    es = wb.EmbeddingSet({"a": x})
    return execute(Scan(es, [Neighbours("a", "a", k)]))[Neighbours("a", "a", k)]


@pytest.mark.parametrize(("k", "counts", "skew"), [(1, (1, 2, 0, 1, 1), 0.0), (2, (2, 2, 4, 1, 1), 0.912871)])
def test_hubness(k, counts, skew):
    n = torch.bincount(neighbours(A, k)["index"].flatten(), minlength=5).double()
    assert tuple(n.tolist()) == counts
    assert float(skewness(n)) == pytest.approx(skew, abs=1e-6)


@pytest.mark.parametrize(("k", "share"), [(1, 0.6), (2, 0.8)])
def test_mutual_neighbours(k, share):
    a, b = neighbours(A, k), neighbours(B, k)
    assert float(overlap(a["key_item"], b["key_item"]).mean()) == pytest.approx(share)


def test_debiased_cka():
    assert compare.cka(A, B) == pytest.approx(0.864936, abs=1e-6)


def test_debiased_cka_of_independent_spaces_is_near_zero():
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(309, 512, generator=g, dtype=torch.float64) for _ in range(2))
    assert abs(compare.cka(x, y)) < 0.05  # the plain form reads 0.62 here


def test_rankme_and_isoscore():
    for x, expected in ((torch.eye(5), 5.0), (torch.diag(torch.tensor([4.0, 2, 1, 1])), 3.363586)):
        assert wb.diagnose({"a": x}, only=["rankme"]).value("rankme", "a") == pytest.approx(expected, abs=1e-5)
    points = torch.tensor([[0.0, 0], [1, 0], [0, 1], [3, 1]]) + torch.tensor([7.0, 9.0])
    assert wb.diagnose({"a": points}, only=["isoscore"]).value("isoscore", "a") == pytest.approx(0.256410, abs=1e-6)
    for variance, expected in (((3, 2, 1), 0.785714), ((1, 1, 0, 0), 0.333333), ((1, 1, 1), 1.0), ((1, 0, 0), 0.0)):
        sigma = torch.tensor(variance, dtype=torch.float64).sqrt()
        assert float(spectrum.iso(sigma)) == pytest.approx(expected, abs=1e-6)


def test_two_nn():
    p = torch.tensor([(0, 0), (1, 0), (0, 2), (4, 4), (5, 7)], dtype=torch.float64)
    d = torch.cdist(p, p).fill_diagonal_(math.inf).sort(1).values[:, :2]
    assert float(spectrum.two_nn(d, tail=0.2)) == pytest.approx(1.691438, abs=1e-6)
    draws = np.random.RandomState(0)
    for dim, expected in ((1, 0.993), (2, 1.875), (5, 4.703)):
        x = torch.zeros(1500, 20, dtype=torch.float64)
        x[:, :dim] = torch.from_numpy(draws.rand(1500, dim))
        d = torch.topk(torch.cdist(x, x).fill_diagonal_(math.inf), 2, largest=False).values
        # another draw of the points than the published one: the estimate's own error is some 3 % here
        assert float(spectrum.two_nn(d)) == pytest.approx(expected, rel=0.08)


def test_davies_bouldin_and_dunn():
    x = torch.tensor([(0.0, 0), (0, 1), (1, 0), (5, 5), (5, 6), (6, 5)]) + 1e-12
    es = wb.EmbeddingSet({"a": x + 1.0})
    own = ClassMoments("a", "label", True), ClassSpread("a", "label", True)
    known = execute(Scan(es, own, labels={"label": np.array([0, 0, 0, 1, 1, 1])}))
    assert float(davies_bouldin(*(known[s] for s in own))) == pytest.approx(0.184990, abs=1e-6)


def test_nearest_points_dunn():
    """Classic Dunn: √41/√2 for the two triangles, with a third role far away."""
    t = torch.tensor([(0.0, 0), (0, 1), (1, 0)]) + 1.0
    x = torch.cat([t, t + 5, t + 50])
    es = wb.EmbeddingSet({"a": x}, pd.DataFrame({"role": list("aaabbbccc")}))
    report = wb.diagnose(es, label="role", roles={"safe": ["a"], "unsafe": ["b"], "jailbreak": ["c"]})
    assert float(report.arrays["avqi_parts", ("a",)]["dunn_nearest_released"]) == pytest.approx(4.527693, abs=1e-5)


def test_the_toy_sphere_prefers_a_gap():
    """Liang et al.: one wrong pair and a low temperature make a gap optimal; the texts are tilted from the equator."""
    lon = [-20, 0, 20, 40, 60, 80]

    def at(longitudes, tilt):
        a, t = np.deg2rad(longitudes), np.deg2rad(tilt)
        return torch.tensor(np.stack([np.cos(a) * np.cos(t), np.sin(a) * np.cos(t), np.full(6, np.sin(t))], 1))

    def loss(tilt, scale):
        s = scale * at(lon, 0) @ at([0, -20, 20, 40, 60, 80], tilt).T
        target = torch.arange(6)
        ce = torch.nn.functional.cross_entropy
        return float(ce(s, target) + ce(s.T, target)) / 2

    assert loss(0, 1) == pytest.approx(1.547739, abs=1e-5)
    assert loss(78, 100) == pytest.approx(0.8096, abs=1e-3)
    assert loss(0, 100) == pytest.approx(2.0142, abs=1e-3)
    es = wb.EmbeddingSet({"image": at(lon, 0), "text": at([0, -20, 20, 40, 60, 80], 78)})
    assert wb.diagnose(es, only=["modality_gap"]).value("modality_gap", "image", "text") == pytest.approx(
        1.1791, abs=1e-3
    )


def test_the_cone_effect():
    """Random ReLU layers narrow the cone: mean cosine .74 after five (theory .736)."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(300, 512, generator=g)
    for _ in range(5):
        x = torch.relu(x @ (torch.randn(512, 512, generator=g) / 512**0.5))
    assert wb.diagnose({"a": x}, only=["mean_cosine"]).value("mean_cosine", "a") == pytest.approx(0.739, abs=0.03)


@pytest.mark.parametrize("decay", [0.0, 3.0, 7.0])
def test_the_spectrum_of_few_rows_is_that_of_their_singular_values(decay):
    """Few rows in many dimensions, of which the last may be a ten-millionth of the first; and all rows alike."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(60, 400, generator=g, dtype=torch.float64)
    x = (x - x.mean(0)) * torch.logspace(0, -decay, 400, dtype=torch.float64)
    want = torch.linalg.svdvals(x).square()
    got = spectrum.spectrum_of(x.T @ x, 60).flip(0)
    assert got.shape == (400,)
    torch.testing.assert_close(got[:60], want, atol=1e-13 * float(want[0]), rtol=1e-9)
    assert float(got[60:].abs().max()) < 1e-13 * float(want[0])
    assert float(spectrum.spectrum_of(torch.zeros(400, 400, dtype=torch.float64), 60).abs().max()) == 0
