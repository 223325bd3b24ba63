"""Recipes: published oracles, naive twins, gradients, order, collapse, missing modalities."""

import math

import pytest
import torch
from torch.nn.functional import normalize

import workbench as wb
from tests import reference
from workbench.objectives.recipes import RECIPES
from workbench.objectives.scores import gram_volume

X = torch.tensor([[1, 2, 2.0], [2, -1, 2], [0, 3, 4]], dtype=torch.float64)
Y = torch.tensor([[2, 1, 2.0], [1, -2, 2], [0, 4, 3]], dtype=torch.float64)
Z = torch.tensor([[1, 1, 0.0], [0, -1, 1], [1, 0, 2]], dtype=torch.float64)
X, Y, Z = (normalize(v, dim=1) for v in (X, Y, Z))


def random_batch(b=6, d=8, m=3, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return {n: torch.randn(b, d, generator=g, dtype=dtype) for n in "abc"[:m]}


@pytest.mark.parametrize(
    ("name", "settings", "batch", "expected"),
    [
        ("infonce", {"temperature": 0.07}, {"x": X, "y": Y}, 0.346279),
        ("infonce", {"temperature": 1.0}, {"x": X, "y": Y}, 0.855340),
        ("gram", {"temperature": 0.07}, {"x": X, "y": Y, "z": Z}, 0.808842),
        ("gram", {"temperature": 0.07, "smoothing": 0.0}, {"x": X, "y": Y, "z": Z}, 0.694276),
    ],
)
def test_oracles(name, settings, batch, expected):
    assert wb.recipe(name, **settings)(wb.Batch(batch))["loss"].item() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("m", [2, 3])
def test_equals_its_twin(name, m):
    batch = random_batch(m=m)
    expected = getattr(reference, name)({k: x.numpy() for k, x in batch.items()}, 0.3)
    got = wb.recipe(name, temperature=0.3)(wb.Batch(batch))["loss"].item()
    assert got == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_gradient_is_right(name):
    objective = wb.recipe(name, temperature=0.5).double()
    inputs = [x.requires_grad_() for x in random_batch(b=4, d=5).values()]
    assert torch.autograd.gradcheck(lambda *v: objective(wb.Batch(dict(zip("abc", v, strict=True))))["loss"], inputs)


@pytest.mark.parametrize("name", RECIPES)
def test_row_order_changes_nothing(name):
    batch, order = random_batch(), torch.tensor([3, 0, 5, 1, 4, 2])
    objective = wb.recipe(name)
    a = objective(wb.Batch(batch))["loss"]
    b = objective(wb.Batch({k: x[order] for k, x in batch.items()}))["loss"]
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", RECIPES)
def test_finite_when_cold_narrow_and_duplicated(name):
    batch = {k: x.bfloat16().requires_grad_() for k, x in random_batch(dtype=torch.float32).items()}
    doubled = {k: torch.cat([x, x]) for k, x in batch.items()}
    loss = wb.recipe(name, temperature=0.01)(wb.Batch(doubled))["loss"]
    loss.backward()
    assert bool(loss.isfinite())
    assert all(bool(x.grad.isfinite().all()) for x in batch.values())


def test_gram_costs_log_b_at_perfect_alignment_and_has_a_finite_gradient():
    x = X.clone().requires_grad_()
    loss = wb.recipe("gram")(wb.Batch({"t": x, "v": x, "a": x}))["loss"]
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3), rel=1e-6)
    assert bool(x.grad.isfinite().all())


def test_volumes_are_the_published_ones():
    expected = [[0.314270, 0.314270, 0.178885], [0.314270, 0.078567, 0.149071], [0.471405, 0.329983, 0.125220]]
    torch.testing.assert_close(
        gram_volume(X, Y, Z, eps=0.0), torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(gram_volume(X, -Y, Z, eps=0.0), gram_volume(X, Y, Z, eps=0.0))


@pytest.mark.parametrize("name", RECIPES)
def test_a_missing_row_neither_asks_nor_answers(name):
    batch = random_batch(b=6)
    present = {"b": torch.tensor([True, True, False, True, True, True])}
    masked = wb.recipe(name)(wb.Batch(batch, present=present))["loss"]
    noise = {k: x.clone() for k, x in batch.items()}
    noise["b"][2] = 100 * torch.randn(8, dtype=torch.float64)
    torch.testing.assert_close(wb.recipe(name)(wb.Batch(noise, present=present))["loss"], masked)
    if name == "gram":  # every modality of a tuple is needed: as if the item were not there
        kept = {k: x[present["b"]] for k, x in batch.items()}
        torch.testing.assert_close(wb.recipe(name)(wb.Batch(kept))["loss"], masked)


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(wb.InputError, match="did you mean 'infonce'"):
        wb.recipe("infonc")
    with pytest.raises(wb.InputError, match="did you mean 'temperature'"):
        wb.recipe("gram", temprature=0.1)
