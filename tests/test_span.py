"""Few rows in many dimensions: in coordinates of their own span they answer what they answered before."""

import pytest
import torch

import workbench as wb
from tests.conftest import duplicated, planted, ragged
from tests.test_diagnostics import NAMES, labelled, values
from workbench.diagnostics import subsamples
from workbench.diagnostics.registry import diagnostics, statistics_of
from workbench.geometry import main_axis
from workbench.sets.span import in_own_span


def wider(es, d=400):
    """The same rows in more dimensions, turned there."""
    turn = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(5), dtype=torch.float64))[0]
    return wb.EmbeddingSet(
        {m: es[m].double() @ turn[: es[m].shape[-1]] for m in es.modalities}, es.items, rows=es._rows
    )


@pytest.mark.parametrize("make", [planted, ragged, duplicated])
def test_rows_lie_to_each_other_as_they_did(make):
    es = wider(make())
    flat = in_own_span(es)
    for a in es.modalities:
        assert flat[a].shape[-1] == sum(len(es[m]) for m in es.modalities)
        for b in es.modalities:
            want = es[a].double() @ es[b].double().T
            torch.testing.assert_close(flat[a] @ flat[b].T, want, rtol=1e-12, atol=1e-12)


def test_a_set_of_many_rows_stays_as_it_is():
    es = planted()
    assert all(in_own_span(es)[m] is es[m] for m in es.modalities)


def test_what_does_not_say_that_axes_matter_to_it_is_blind_to_them():
    es = labelled(wider(planted(n=40)))
    before, after = values(wb.diagnose(es, label="kind")), values(wb.diagnose(in_own_span(es), label="kind"))
    for key, value in before.items():
        d = diagnostics()[key[0]]
        reads = statistics_of(d.reads(*key[1], **d.params))
        if not d.axes and not any(s.axes for s in reads):
            assert after[key] == pytest.approx(value, rel=1e-6, abs=1e-7, nan_ok=True), key


def test_values_alone_are_those_of_a_report(monkeypatch):
    es = wider(planted(n=40))
    turned = []
    monkeypatch.setattr(
        subsamples, "in_own_span", lambda es, **how: turned.append(in_own_span(es, **how)) or turned[-1]
    )
    names = [n for n in NAMES if diagnostics()[n].layered]
    report = wb.diagnose(es, only=names)
    for (name, scope), value in subsamples.bare(es, names).items():
        assert value == pytest.approx(report.value(name, *scope), rel=1e-9, nan_ok=True), name
    assert turned[-1]["image"].shape[-1] < 400


@pytest.mark.parametrize(("n", "d"), [(200, 8), (30, 100), (1, 5), (5, 1)])
def test_the_main_axis_is_the_first_eigenvector(n, d):
    g = torch.Generator().manual_seed(n)
    x = torch.randn(n, d, generator=g, dtype=torch.float64)
    x[:, 0] *= 5
    want = torch.linalg.eigh(x.T @ x).eigenvectors[:, -1]
    assert abs(float(want @ main_axis(x))) == pytest.approx(1, abs=1e-9)
    assert torch.isfinite(main_axis(torch.zeros(n, d, dtype=torch.float64))).all()
