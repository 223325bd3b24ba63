"""Scale-out changes no gradient: gathered ranks, cached chunks and tiles all equal the plain form."""

import json

import pytest
import torch

import workbench as wb
from tests.test_executors import ranks
from tests.test_objectives import NAMES, made
from workbench.objectives import tiled
from workbench.objectives.recipes import RECIPES
from workbench.training.gradcache import cached_backward

f64 = torch.float64
# what draws noise, or keeps count of steps, differs between ranks by design
GATHERED = [n for n in NAMES if n not in ("clip_refine", "noise_injection")]


def units(b, d, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(b, d, generator=g, dtype=f64), dim=1).requires_grad_()


@pytest.mark.parametrize("tile", [1, 5, 64])
def test_tiles_equal_the_plain_form(tile):
    for name in ("infonce", "siglip"):
        x, y = units(23, 6, 0), units(23, 6, 1)
        t = torch.tensor(0.2, dtype=f64, requires_grad=True)
        objective = wb.recipe(name).double()
        plain = objective.terms[0].function(wb.Batch({"a": x, "b": y}), t)
        expected = torch.autograd.grad(plain, (x, y, t))
        if name == "infonce":
            loss = tiled.infonce(x, y, t, tile)
        else:
            loss = tiled.sigmoid(x, y, t, objective.parts[0].bias.detach(), tile)
        got = torch.autograd.grad(loss, (x, y, t))
        torch.testing.assert_close(loss, plain)

        def tangent(g, v):  # the plain form scales rows to length one first
            return g - (g * v).sum(1, keepdim=True) * v

        for v, a, b in zip((x, y), got, expected, strict=False):
            torch.testing.assert_close(tangent(a, v), b)
        torch.testing.assert_close(got[2], expected[2])


def test_tiled_gradients_against_finite_differences():
    x, y = units(6, 4, 2), units(6, 4, 3)
    t, b = torch.tensor(0.5, dtype=f64, requires_grad=True), torch.tensor(-2.0, dtype=f64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *v: tiled.infonce(*v, tile=4), (x, y, t))
    assert torch.autograd.gradcheck(lambda *v: tiled.sigmoid(*v, tile=4), (x, y, t, b))


@pytest.mark.parametrize("name", ["infonce", "gram", "siglip", "mv_dhel", "vicreg"])
def test_cached_chunks_give_the_same_gradients_with_dropout(name):
    objective, batch, extra = made(name, b=12)
    tower = torch.nn.Sequential(
        torch.nn.Linear(8, 8), torch.nn.Dropout(0.3), torch.nn.Tanh(), torch.nn.Linear(8, 8)
    ).double()

    def embed(inputs):
        return {m: tower(x) for m, x in inputs.items()}

    def loss(z):
        return objective(wb.Batch(z, **{k: x for k, x in extra.items() if k in RECIPES[name].needs}))

    # dropout as the chunks will draw it
    torch.manual_seed(0)
    parts = [embed({m: x[a : a + 5] for m, x in batch.items()}) for a in range(0, 12, 5)]
    whole = loss({m: torch.cat([p[m] for p in parts]) for m in batch})["loss"]
    whole.backward()
    expected = [p.grad.clone() for p in tower.parameters()]
    tower.zero_grad()
    torch.manual_seed(0)
    got = cached_backward(embed, batch, loss, 5)
    torch.testing.assert_close(got["loss"], whole.detach())
    for p, e in zip(tower.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, e)


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_gathered_ranks_give_the_gradients_of_one_process(tmp_path, count):
    """Real gloo ranks with uneven shards, DDP around the tower, every recipe: gradients equal to 1e-6."""
    ranks(
        tmp_path,
        count,
        f"""
        import json
        from tests.test_objectives import made
        from tests.test_scaleout import GATHERED
        from workbench.objectives.recipes import RECIPES
        from workbench.training.gather import Gathered

        def cut(x, at):
            return {{k: v[at] for k, v in x.items()}} if isinstance(x, dict) else x[at]

        edges = [0, 2, 6] if size == 2 else [0, 1, 4, 6]
        mine, worst = slice(edges[rank], edges[rank + 1]), {{}}
        for name in GATHERED:
            objective, batch, extra = made(name)
            extra = {{k: x for k, x in extra.items() if k in RECIPES[name].needs or k.startswith("tokens")}}
            grads = []
            for parallel in (False, True):
                torch.manual_seed(1)
                tower = torch.nn.Linear(8, 8).double()
                net = torch.nn.parallel.DistributedDataParallel(tower) if parallel else tower
                loss = Gathered(made(name)[0]) if parallel else objective
                part = (lambda x: cut(x, mine)) if parallel else (lambda x: x)
                joined = torch.cat([part(v) for v in batch.values()])
                rows = net(joined).chunk(len(batch))
                more = {{k: part(x) for k, x in extra.items()}}
                if "tokens" in more:  # bags too come from the tower
                    more["tokens"] = {{k: v @ tower.weight.T for k, v in more["tokens"].items()}}
                out = loss(wb.Batch(dict(zip(batch, rows, strict=True)), **more))
                if not out["loss"].requires_grad:
                    continue
                out["loss"].backward()
                if "tokens" in more and parallel:  # outside of DDP's hooks: average by hand
                    dist.all_reduce(tower.weight.grad)
                    tower.weight.grad /= size
                grads.append(tower.weight.grad.clone())
            worst[name] = float((grads[0] - grads[1]).abs().max() / grads[0].abs().max().clamp_min(1e-9))
        if rank == 0:
            open({str(tmp_path / "worst.json")!r}, "w").write(json.dumps(worst))
        """,
    )
    worst = json.loads((tmp_path / "worst.json").read_text())
    assert set(worst) == set(GATHERED)
    assert all(v < 1e-6 for v in worst.values()), {k: v for k, v in worst.items() if v >= 1e-6}
