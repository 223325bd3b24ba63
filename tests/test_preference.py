"""Losses of log-probabilities and the conflict of terms: published oracles, naive twins, gradients, laws."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import workbench as wb
from tests import reference_losses as reference
from workbench.objectives.conflict import agreement, gradients, min_norm
from workbench.objectives.discovery import agreement as agreeing
from workbench.objectives.discovery import balance, partners
from workbench.objectives.mixing import mixed, sensitivity
from workbench.objectives.preference import cca, copg, dpo, optimum, ranked, svco

f64 = torch.float64


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=f64)


def test_oracles_of_conditions():
    right, wrong = torch.tensor([2.0, -1.0], dtype=f64), torch.tensor([1.0, -3.0], dtype=f64)
    assert cca(right, wrong, weight=1.0).item() == pytest.approx(1.3716693, abs=1e-7)
    assert cca(right, wrong).item() * 50 == pytest.approx(34.8581295, abs=1e-6)
    assert dpo(right, wrong, beta=0.02).item() == pytest.approx(0.6782722, abs=1e-7)
    assert cca(right, wrong, alike=torch.tensor([True, False])).item() == pytest.approx(0.3523960, abs=1e-7)


def test_oracles_of_pictures_policies_and_ranks():
    policy = torch.tensor([[[-10.0, -20, -15], [-22, -11, -16]]], dtype=f64)
    start = torch.tensor([[[-12.0, -18, -15], [-18, -12, -15]]], dtype=f64)
    assert svco(policy, start).item() == pytest.approx(2.34877185, abs=1e-8)
    reward, behaviour = torch.tensor([0.0, 1.0, 2.0], dtype=f64), torch.tensor([0.8, 0.1, 0.1], dtype=f64)
    pairs = [(i, j) for i in range(3) for j in range(3)]
    loss = sum(behaviour[i] * behaviour[j] * copg(torch.zeros(1, 2, dtype=f64), reward[[i, j]][None]) for i, j in pairs)
    assert loss.item() == pytest.approx(0.82)
    assert ranked(torch.tensor([[3.0, 2, 1, 0]], dtype=f64)).item() == pytest.approx(0.20703809, abs=3e-8)


@given(st.integers(0, 500), st.integers(1, 5), st.integers(2, 5))
def test_they_equal_their_twins(seed, n, k):
    a, b, alike = draw(seed, n), draw(seed + 1, n), draw(seed + 2, n) > 0.5
    for weight in (0.5, 3.0):
        twin = reference.condition_contrast(a.tolist(), b.tolist(), 0.3, weight, alike.tolist())
        assert cca(a, b, beta=0.3, weight=weight, alike=alike).item() == pytest.approx(twin, rel=1e-9)
    p, r = 3 * draw(seed, n, 2, 3), draw(seed + 1, n, 2, 3)
    assert svco(p, r).item() == pytest.approx(reference.symmetric_pictures(p.tolist(), r.tolist(), 0.1), rel=1e-9)
    ratio, reward = draw(seed, n, k), draw(seed + 1, n, k)
    twin = reference.policy_contrast(ratio.tolist(), reward.tolist(), 0.7)
    assert copg(ratio, reward, beta=0.7).item() == pytest.approx(twin, rel=1e-9, abs=1e-12)


def test_gradients_are_right():
    x, y = draw(0, 4).requires_grad_(), draw(1, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: cca(a, b, beta=0.5, weight=3.0), (x, y))
    assert torch.autograd.gradcheck(lambda a: svco(a, draw(3, 2, 2, 3)), draw(2, 2, 2, 3).requires_grad_())
    assert torch.autograd.gradcheck(lambda a: copg(a, draw(4, 3, 4)), draw(5, 3, 4).requires_grad_())


@given(st.integers(0, 300))
def test_the_optimum_is_where_the_contrast_is_nothing_and_no_policy_gains_more(seed):
    start, reward = draw(seed, 2, 5).log_softmax(1), draw(seed + 1, 2, 5)
    best = optimum(start, reward, beta=0.5)
    assert copg(best - start, reward, beta=0.5).item() == pytest.approx(0, abs=1e-18)

    def gained(policy):
        return ((policy.exp() * (reward - 0.5 * (policy - start))).sum(1)).mean().item()

    assert gained(best) >= gained((best + 0.3 * draw(seed + 2, 2, 5)).log_softmax(1))


def test_off_policy_it_reaches_the_optimum_where_an_unweighted_policy_gradient_does_not():
    reward, start = torch.tensor([[0.0, 1.0, 2.0]], dtype=f64), torch.full((1, 3), 1 / 3, dtype=f64).log()
    behaviour = torch.tensor([0.8, 0.1, 0.1], dtype=f64)
    weights = behaviour[:, None] * behaviour[None]

    def contrast(policy):
        r = reward - (policy - start)
        return (weights * (r.T - r).square()).sum()

    def naive(policy):  # as if the samples were its own, each reward for itself
        r = (reward - (policy - start)).detach()[0]
        return -(behaviour * r * policy[0]).sum()

    found = {}
    for name, loss in (("contrast", contrast), ("naive", naive)):
        logits = torch.zeros(1, 3, dtype=f64, requires_grad=True)
        optimizer = torch.optim.Adam([logits], lr=0.02)
        for _ in range(3000):
            optimizer.zero_grad()
            loss(logits.log_softmax(1)).backward()
            optimizer.step()
        found[name] = logits.softmax(1)[0].tolist()
    assert found["contrast"] == pytest.approx([0.09003, 0.24473, 0.66524], abs=1e-4)
    assert found["naive"] == pytest.approx([0.288, 0.284, 0.428], abs=1e-3)


def test_oracles_of_the_shortest_combination():
    for rows, weights in (
        ([[2.0, 0], [0, 1]], [0.2, 0.8]),
        ([[2.0, 0], [-1, 1]], [0.4, 0.6]),
        ([[2.0, 0], [0, 1], [-1, 1]], [0.4, 0, 0.6]),
    ):
        assert min_norm(torch.tensor(rows, dtype=f64)).tolist() == pytest.approx(weights, abs=1e-4)


@given(st.integers(0, 300))
def test_no_convex_combination_is_shorter_and_a_step_along_it_lowers_every_term(seed):
    g = draw(seed, 3, 4)
    a = min_norm(g)
    assert a.sum().item() == pytest.approx(1)
    assert (a >= 0).all()
    step = a @ g
    assert float(step @ step) <= reference.shortest(g.tolist())[0] + 1e-6
    assert bool((g @ step >= float(step @ step) - 1e-4 * float(g.square().sum())).all())


def test_parallel_and_vanished_gradients_have_weights_too():
    assert min_norm(torch.tensor([[1.0, 1], [1, 1]])).sum().item() == pytest.approx(1)
    assert min_norm(torch.zeros(2, 3)).tolist() == pytest.approx([0.5, 0.5])
    assert min_norm(torch.tensor([[0.0, 0], [1, 1]])).tolist() == pytest.approx([1, 0], abs=1e-5)
    w = torch.ones(2, requires_grad=True)
    unused = torch.ones(1, requires_grad=True)
    g = gradients([w.sum(), -w.sum(), (w * 0).sum()], [w, unused])
    assert agreement(g)[0, 1].item() == pytest.approx(-1)
    assert agreement(g)[0, 2].isnan()


def test_oracles_of_mixtures():
    start, tuned = (torch.tensor(p, dtype=f64).log() for p in ([0.5, 0.3, 0.2], [0.2, 0.3, 0.5]))
    for w, expected in ((0.5, [0.339134, 0.321731, 0.339134]), (-0.3, [0.592899, 0.270240, 0.136860])):
        assert mixed(start, tuned, w).exp().tolist() == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(mixed(start, tuned, 0), start)
    torch.testing.assert_close(mixed(start, tuned, 1), tuned)


@given(st.integers(0, 300), st.floats(-1, 2))
def test_sensitivity_is_the_slope_of_the_expectation(seed, w):
    start, tuned, score = draw(seed, 6), draw(seed + 1, 6), draw(seed + 2, 6)

    def expectation(w):
        weights = [math.exp(a + w * (b - a)) for a, b in zip(start.tolist(), tuned.tolist(), strict=True)]
        return sum(p * f for p, f in zip(weights, score.tolist(), strict=True)) / sum(weights)

    slope = (expectation(w + 1e-5) - expectation(w - 1e-5)) / 2e-5
    assert sensitivity(start, tuned, score, w).item() == pytest.approx(slope, rel=1e-4, abs=1e-7)


def test_oracles_of_discovery():
    p, partner = (torch.tensor([row], dtype=f64) for row in ([0.7, 0.2, 0.1], [0.6, 0.3, 0.1]))
    assert agreeing(p, partner).item() == pytest.approx(0.713350, abs=1e-6)
    assert balance(torch.cat([p, partner])).item() == pytest.approx(0.856841, abs=1e-6)
    logits, raised = torch.tensor([[2.0, 1, 0]]), torch.tensor([[2.2, 1, 0]])
    first = torch.tensor([0])
    assert torch.nn.functional.cross_entropy(logits, first).item() == pytest.approx(0.407606, abs=1e-6)
    assert torch.nn.functional.cross_entropy(raised, first).item() == pytest.approx(0.345005, abs=1e-6)


@given(st.integers(0, 200), st.integers(4, 9))
def test_partners_are_those_of_the_loops(seed, n):
    z, parts_ = draw(seed, n, 4), draw(seed + 1, n, 3, 4)
    found, kept = partners(z, parts_, torch.zeros(0, dtype=torch.long), torch.Generator())
    for i in range(n):
        assert (found[i].item(), bool(kept[i])) == reference.voted_partner(z.numpy(), parts_.numpy(), i)
    labels = torch.tensor([0, 1, 0])
    told, sure = partners(z, parts_, labels, torch.Generator().manual_seed(seed), vote=False)
    assert told[:3].tolist() == [2, 1, 0], "one of its class, or itself where it is alone"
    assert bool(sure.all())
    assert told[3:].tolist() == found[3:].tolist()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: cca(torch.zeros(2), torch.zeros(3)), "one shape"),
        (lambda: svco(torch.zeros(2, 2), torch.zeros(2, 2)), "2 texts, 3 conditions"),
        (lambda: copg(torch.zeros(2, 1), torch.zeros(2, 1)), "two answers a prompt"),
        (lambda: ranked(torch.zeros(3)), "two answers or more"),
        (lambda: min_norm(torch.zeros(9, 2)), "one to eight terms"),
        (lambda: mixed(torch.zeros(2), torch.zeros(3), 0.5), "same tokens"),
        (lambda: sensitivity(torch.zeros(2), torch.zeros(2), torch.zeros(3)), "a score of each token"),
        (lambda: agreeing(torch.zeros(2, 2), torch.zeros(3, 2)), "one shape"),
        (lambda: partners(torch.zeros(2, 2), torch.zeros(2, 1, 2), torch.zeros(0), None), "three rows or more"),
    ],
)
def test_what_cannot_be_is_one_sentence(call, said):
    with pytest.raises(wb.InputError, match=said):
        call()
