"""Moments, paired heads, residual codes and criteria: published oracles, naive twins, laws."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import workbench as wb
from tests import reference_moments as reference
from workbench.objectives import heads
from workbench.objectives.distillation import told_apart
from workbench.objectives.moments import gaussian, group_contrast, of_moments, overlap, spans
from workbench.objectives.quantise import ResidualQuantiser, collisions, perplexity
from workbench.papers.entries.ila import point_mask
from workbench.papers.entries.medrpg import in_context
from workbench.papers.entries.mutdet import matched
from workbench.papers.entries.sam3 import score
from workbench.report.criteria import Criterion, consistent, criteria, mined, votes
from workbench.report.encoding import correlation, encoded, encoding_score, noise_ceiling

f64 = torch.float64


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=f64)


def test_the_weights_of_moments_are_the_published_ones():
    first, last = spans(4)
    weight = of_moments(gaussian(torch.tensor([1]), 4, 0.3))[0]
    found = {(a, b): w for a, b, w in zip(first.tolist(), last.tolist(), weight.tolist(), strict=True)}
    row = [found[0, k] for k in range(4)]
    assert row == pytest.approx([0.527307, 0.438531, 0.430322, 0.105199], abs=1e-5)
    assert [found[1, k] for k in (1, 2, 3)] == pytest.approx([0.674877, 0.341545, 0.341545], abs=1e-5)


def contrast(films, sentences, glances, temperature, chosen):
    """The loss as an experiment puts it together."""
    length = max(b for _, b in films[0]) + 1
    first, last = spans(length)
    f = torch.tensor([[film[a, b] for a, b in zip(first.tolist(), last.tolist(), strict=True)] for film in films])
    f, s = (torch.nn.functional.normalize(x.double(), dim=-1) for x in (f, torch.tensor(sentences)))
    every = torch.einsum("bd,cmd->bcm", s, f)
    rows, glance = torch.arange(len(films)), torch.tensor(glances)[:, None]
    own = every[rows, rows]
    holds = (first <= glance) & (last >= glance)
    weight = of_moments(gaussian(glance[:, 0], length, 0.3)).double()
    liked = (own * weight).masked_fill(~holds, -torch.inf)
    positive = torch.zeros_like(holds).scatter(1, liked.topk(min(chosen, liked.shape[1]), 1).indices, True) & holds
    others = every.masked_fill(torch.eye(len(films), dtype=torch.bool)[:, :, None], -torch.inf).flatten(1)
    return group_contrast(own / temperature, others / temperature, positive, weight, holds).item()


def test_the_group_contrast_is_the_worked_example():
    films = [
        {(0, 0): [1.0, 0.0], (0, 1): [0.6, 0.8], (1, 1): [0.0, 1.0]},
        {(0, 0): [-1.0, 0.0], (0, 1): [0.0, 1.0], (1, 1): [0.8, -0.6]},
    ]
    known = (films, [[1.0, 0.1], [0.0, 1.0]], [0, 1])
    assert contrast(*known, 0.1, 1) == pytest.approx(reference.group_loss(*known, 2, 0.1, 0.3, 1), abs=1e-6)
    assert contrast(*known, 0.1, 1) == pytest.approx(0.403594, abs=1e-5)


@given(st.integers(0, 100), st.integers(2, 4), st.integers(1, 4))
def test_the_group_contrast_is_its_twin(seed, length, chosen):
    first, last = spans(length)
    x = draw(seed, 3, len(first), 4).float()
    films = [{(a, b): v.tolist() for a, b, v in zip(first.tolist(), last.tolist(), rows, strict=True)} for rows in x]
    sentences, glances = draw(seed + 1, 3, 4).float().tolist(), [k % length for k in (seed, seed + 1, seed + 2)]
    twin = reference.group_loss(films, sentences, glances, length, 0.5, 0.3, chosen)
    if all(sum(a <= g <= b for a, b in films[0]) >= chosen for g in glances):
        s = [reference.unit(v) for v in sentences]
        alike = [sum(p * q for p, q in zip(s[0], reference.unit(v), strict=True)) for v in films[0].values()]
        if min(alike) > 0:
            assert contrast(films, sentences, glances, 0.5, chosen) == pytest.approx(twin, rel=1e-4)


def test_overlap_counts_both_ends():
    a, b = torch.tensor([0, 4, 0]), torch.tensor([3, 5, 0])
    assert overlap(a, b, torch.tensor([2, 0, 0]), torch.tensor([5, 3, 0])).tolist() == pytest.approx([2 / 6, 0, 1])


def test_the_paired_head_is_the_worked_example():
    rows = [
        [[1, 2, 2.0], [2, -1, 2], [0, 3, 4]],
        [[2, 1, 2.0], [1, -2, 2], [0, 4, 3]],
        [[1, 1, 0.0], [0, -1, 1], [1, 0, 2]],
    ]
    x, y, z = (torch.nn.functional.normalize(torch.tensor(v, dtype=f64), dim=1) for v in rows)
    positive = (x * y).sum(1, keepdim=True) / 0.07
    negative = (x @ z.T / 0.07).masked_fill(torch.eye(3, dtype=torch.bool), -torch.inf)
    assert heads.paired(positive, negative).item() == pytest.approx(0.285020, abs=1e-6)


@given(st.integers(0, 200), st.integers(1, 4), st.integers(1, 4))
def test_the_paired_head_is_its_twin(seed, p, n):
    positive, negative = draw(seed, 3, p), draw(seed + 1, 3, n)
    twin = reference.paired(positive.tolist(), negative.tolist(), 1.0)
    assert heads.paired(positive, negative).item() == pytest.approx(twin)
    there = torch.zeros(3, p, dtype=torch.bool)
    there[:, 0] = True
    assert heads.paired(positive, negative, positives=there).item() == pytest.approx(
        reference.paired(positive[:, :1].tolist(), negative.tolist(), 1.0)
    )


def test_the_mask_of_a_point_is_the_worked_example():
    centre, aside = point_mask(torch.tensor([0.0, 0.75]), 7).tolist()
    assert centre == pytest.approx([0, 0.375, 0.875, 1, 0.875, 0.375, 0], abs=1e-6)
    assert aside == pytest.approx([0, 0, 0, 0.25, 0.75, 1, 1], abs=1e-6)


def test_what_a_student_tells_of_its_teacher_is_the_worked_example():
    teacher, student = torch.tensor([[1.0, 2.0, 0.0]], dtype=f64), torch.tensor([[0.5, 1.0, -1.0]], dtype=f64)
    loss = told_apart(student, teacher, torch.zeros(3, dtype=f64), sharp=0.01)
    assert loss.item() == pytest.approx(0.006715, abs=1e-6)
    context = in_context(
        torch.tensor([[1.0, 0.2]]), torch.tensor([[[1.0, 0], [0, 1], [-1, 0.5]]]), torch.zeros(1, 3, 2)
    )
    assert context.item() == pytest.approx(0.00039179, abs=1e-7)


def test_the_hinge_of_all_films_is_the_worked_example():
    rows = [[[1, 2, 2.0], [2, -1, 2], [0, 3, 4]], [[2, 1, 2.0], [1, -2, 2], [0, 4, 3]]]
    x, y = (torch.nn.functional.normalize(torch.tensor(v, dtype=f64), dim=1) for v in rows)
    assert heads.hinge(x @ y.T, 0.2).item() * 3 == pytest.approx(0.64)


def test_a_vector_becomes_the_codes_that_were_worked_out():
    rq = ResidualQuantiser(2, 2, 2)
    rq.codes.data = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.25], [0.0, -0.25]]])
    x = torch.tensor([[1.0, 0.3]], requires_grad=True)
    ids, q, loss = rq(x)
    assert ids.tolist() == [[0, 0]]
    assert q.tolist() == [[1.0, 0.25]]
    assert (x - q).square().sum().item() == pytest.approx(0.0025)
    q.sum().backward(retain_graph=True)
    assert x.grad.tolist() == [[1.0, 1.0]], "straight through"
    loss.backward()
    assert bool((rq.codes.grad != 0).any())


@given(st.integers(0, 200))
def test_codes_are_those_of_the_loops_and_more_levels_leave_no_more_behind(seed):
    torch.manual_seed(seed)
    rq = ResidualQuantiser(3, 5, 4).double()
    x = draw(seed, 7, 4)
    ids, q, _ = rq(x)
    for row, k, code in zip(x.numpy(), ids.tolist(), q.detach().numpy(), strict=True):
        known, total = reference.residual_codes(row, rq.codes.detach().numpy())
        assert k == known
        np.testing.assert_allclose(code, total, atol=1e-9)
    assert bool(((perplexity(ids, 5) + 1e-9 >= 1) & (perplexity(ids, 5) <= 5 + 1e-5)).all())
    assert collisions(torch.cat([ids, ids])) == 1.0


def test_codes_that_nobody_uses_are_given_to_rows():
    rq = ResidualQuantiser(1, 4, 2)
    rq.codes.data = torch.tensor([[[0.0, 0.0], [9.0, 9], [9, 9], [9, 9]]])
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    assert rq.revive(x, torch.Generator().manual_seed(0)) == 3
    assert float(perplexity(rq(x)[0], 4)[0]) > 1.5
    with pytest.raises(wb.InputError, match="a level and two codes"):
        ResidualQuantiser(0, 4, 2)


def test_scores_of_a_prompt_are_the_worked_example():
    s = score(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.25]))
    assert s.item() == pytest.approx(0.70710678)
    assert (s.sigmoid() * torch.tensor(1.0).sigmoid()).item() == pytest.approx(0.66976 * 0.73106, abs=1e-4)
    assert score(torch.tensor([100.0]), torch.tensor([100.0])).item() == 12


def test_the_scale_of_a_matched_contrast_takes_the_temperature_out_of_its_gradient():
    q, k = (torch.nn.functional.normalize(draw(s, 24, 16), dim=1) for s in (0, 1))

    def pulls(scaled):
        found = []
        for t in (0.05, 0.1, 0.2, 0.5, 1.0):
            x = q.clone().requires_grad_()
            matched(x, k, t, scaled).backward()
            found.append(float(x.grad.norm()))
        return max(found) / min(found)

    assert pulls(True) < 3
    assert pulls(False) > 10


def test_the_matched_contrast_is_the_worked_example():
    rows = [[[1, 0.0], [1, 1], [0, 1]], [[1, 0.1], [1, 0.9], [-0.2, 1]]]
    a, b = (torch.nn.functional.normalize(torch.tensor(v, dtype=f64), dim=1) for v in rows)
    assert matched(a, b).item() == pytest.approx(0.21453316, abs=1e-7)


def test_a_perfect_model_reaches_the_ceiling_and_a_stranger_nothing():
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(900, 6, generator=g), torch.randn(6, 5, generator=g)
    signal = x @ w
    signal = signal / signal.std(0)
    repeats = signal[:, :, None] + 1.5 * torch.randn(900, 5, 4, generator=g)
    third = [slice(0, 500), slice(500, 700), slice(700, 900)]
    a, b, c = (repeats[s] for s in third)
    right, _ = encoding_score(tuple(x[s] for s in third), (a, b, c))
    assert float(right.mean()) == pytest.approx(1, abs=0.06)
    wrong, _ = encoding_score(tuple(torch.randn(900, 6, generator=g)[s] for s in third), (a, b, c))
    assert abs(float(wrong.mean())) < 0.15
    true = (1 / (1 + 1.5**2 / 4)) ** 0.5
    assert float(noise_ceiling(repeats).mean()) == pytest.approx(true, abs=0.03)
    with pytest.raises(wb.InputError, match="2 repeats or more"):
        noise_ceiling(repeats[:, :, :1])


@given(st.integers(0, 100))
def test_encoding_is_scikit_learns(seed):
    from sklearn.linear_model import Ridge

    x, y, z = draw(seed, 30, 4), draw(seed + 1, 30, 2), draw(seed + 2, 9, 4)
    theirs = Ridge(2.0).fit(x.numpy(), y.numpy()).predict(z.numpy())
    np.testing.assert_allclose(encoded(x, y, z, 2.0).numpy(), theirs, atol=1e-9)
    np.testing.assert_allclose(
        correlation(y[:, :1], y[:, 1:]).numpy(), [np.corrcoef(y[:, 0].numpy(), y[:, 1].numpy())[0, 1]], atol=1e-9
    )


def test_rules_are_mined_and_only_those_are_kept_that_others_agree_with():
    n = 200
    kind = ["a", "b", "c", "d"] * 50
    items = pd.DataFrame({"id": range(n), "kind": kind, "size": [k % 7 for k in range(n)], "bytes": [b"x"] * n})
    rules = criteria(items)
    assert [c.words for c in rules if c.words.startswith("kind")] == [f"kind is {v!r}" for v in "abcd"]
    assert not [c for c in rules if c.words.startswith(("id", "bytes"))]
    failed = np.array([k == "b" for k in kind]) | (np.arange(n) % 11 == 0)
    first = np.arange(n) < 100
    found = mined(rules, failed, first)
    assert found[0].words == "kind is 'b'"
    assert found[0].sign == 1
    assert found[0].excess(failed, first) == pytest.approx(
        reference.excess(found[0].holds[first].tolist(), failed[first].tolist())
    )
    kept = consistent(found, failed, ~first)
    assert kept[0].words == "kind is 'b'"
    assert votes(kept[:1], n).tolist() == [int(k == "b") for k in kind]
    signs = [(1, 1), (1, 1), (1, -1), (1, 1)]
    outcome = np.array([True, False])
    four = [Criterion(str(k), np.array([b > 0, b < 0]), a) for k, (a, b) in enumerate(signs)]
    assert len(consistent(four, outcome, np.ones(2, bool))) / 4 == 0.75
    with pytest.raises(wb.InputError, match="items that failed and items that did not"):
        mined(rules, np.zeros(n, bool), first)
