"""Everything on one device: checked against float64, then timed beside the bare product. Ten minutes on a card.

`python -m benchmarks.gpu` takes the card that is there (`--device cpu` without one), writes gpu.json and gpu.md
into `-o FOLDER`; `--small` is what the tests run. Nothing is fetched. It exits with 1 where a check fails.

Checked: every diagnostic against its naive twin, sets of several tiles against the same in float64 on the CPU, every
recipe with its gradient against itself in float64, the tiled contrast, towers in the precision of the device, and that
a run that was cut short goes on to the same numbers. Timed: the default suite and InfoNCE against the bare products
that they need, the map, and a report notebook by `workbench batch`.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import workbench as wb
from benchmarks.scan import bare, pairs
from benchmarks.timing import machine, seconds
from tests import test_diagnostics as twins
from tests.test_objectives import NAMES, made
from workbench.disk import finite, write_text
from workbench.errors import InputError
from workbench.objectives import heads, tiled
from workbench.scan.asks import Best, Between, Potentials, one_by_one
from workbench.scan.tile import Rows, Tile
from workbench.scan.view import SetView
from workbench.sets.projection import NONLINEAR

Row = dict[str, Any]
EXACT, FLOAT, NARROW = 1e-5, 1e-3, 0.1  # relative errors: of a report, of float32 losses, of bfloat16 towers
RANDOM = ("clip_refine", "noise_injection")  # draw noise on the device: no two devices draw the same


def error(got: float, expected: float) -> float:
    """The relative error, absolute below 1; nothing on both sides is none."""
    if math.isnan(got) and math.isnan(expected):
        return 0.0
    return abs(got - expected) / max(abs(expected), 1.0) if math.isfinite(got) else math.inf


def checked(part: str, what: str, found: float, limit: float) -> Row:
    return {"part": part, "what": what, "error": found, "limit": limit, "ok": found <= limit}


# -- checks --------------------------------------------------------------------------------------------------------


def diagnostics(device: str) -> Iterator[Row]:
    """Every diagnostic on its twin sets, a row each: the largest error over sets and scopes."""
    worst: dict[str, float] = {}
    for make in twins.TWIN_SETS.values():
        es = twins.labelled(make())
        for r in wb.diagnose(es, label="kind", device=device).frame.to_dict("records"):
            if r["name"] not in twins.ROLED:
                found = error(r["value"], twins.twin(r["name"], es, *r["modalities"]))
                worst[r["name"]] = max(worst.get(r["name"], 0.0), found)
    for name, found in worst.items():
        yield checked("diagnostic", name, found, EXACT)


def tiles(device: str, n: int, d: int) -> Iterator[Row]:
    """A set of several tiles against the same rows in float64 on the CPU."""
    es = pairs(n, d)
    exact = wb.EmbeddingSet({m: es[m].double() for m in es.modalities}, es.items)
    expected, got = (
        {
            (r["name"], r["modalities"]): r["value"]
            for r in wb.diagnose(e, device=at, exact=True).frame.to_dict("records")
        }
        for e, at in ((exact, "cpu"), (es, device))
    )
    found = {key: error(got[key], x) for key, x in expected.items()}
    name, scope = max(found, key=lambda k: found[k])
    yield checked(
        "tiles", f"{len(found)} numbers of {n:,} × {d}, worst {name} {' '.join(scope)}", max(found.values()), FLOAT
    )


def moved(x: Any, device: str) -> Any:
    """Tensors in a batch's parts, on the device and in float32."""
    if isinstance(x, dict):
        return {k: moved(v, device) for k, v in x.items()}
    return x.to(device, torch.float32) if x.is_floating_point() else x.to(device)


def recipes(device: str) -> Iterator[Row]:
    """The loss of each recipe and its gradients in float32 on the device, against float64 on the CPU."""

    def stepped(name: str, at: str, narrow: bool) -> tuple[float, list[Tensor]]:
        objective, batch, extra = made(name, b=24, d=16)
        if narrow:
            objective, batch, extra = objective.to(at, torch.float32), moved(batch, at), moved(extra, at)
        leaves = [x.requires_grad_() for x in batch.values()]
        loss = objective(wb.Batch(batch, **extra))["loss"]
        if loss.requires_grad:  # prototypes are silent until their memory is full
            loss.backward()
        return loss.item(), [torch.zeros(1) if x.grad is None else x.grad.double().cpu() for x in leaves]

    for name in NAMES:
        loss, slopes = stepped(name, device, narrow=True)
        if name in RANDOM:
            yield checked(
                "recipe", f"{name} (draws its own noise: finite)", 0.0 if math.isfinite(loss) else math.inf, FLOAT
            )
            continue
        expected, steep = stepped(name, "cpu", narrow=False)
        size = max(float(torch.stack([s.norm() for s in steep]).norm()), 1e-6)
        apart = float(torch.stack([(a - b).norm() for a, b in zip(slopes, steep, strict=True)]).norm())
        yield checked("recipe", name, max(error(loss, expected), apart / size), FLOAT)


def tiled_contrast(device: str, b: int, d: int) -> Iterator[Row]:
    """The contrast in tiles against the whole matrix in float64, with its gradient."""
    g = torch.Generator().manual_seed(0)
    x, y = (torch.nn.functional.normalize(torch.randn(b, d, generator=g), dim=1) for _ in range(2))
    far = [v.to(device).clone().requires_grad_() for v in (x, y)]
    near = [v.double().requires_grad_() for v in (x, y)]
    got, expected = tiled.infonce(*far, 0.07), heads.symmetric(near[0] @ near[1].T / 0.07)
    got.backward()
    expected.backward()
    slopes = max(float((a.grad.double().cpu() - b.grad).norm() / b.grad.norm()) for a, b in zip(far, near, strict=True))
    yield checked("tiles", f"contrast of {b:,} × {d}", max(error(got.item(), expected.item()), slopes), FLOAT)


def loops(device: str) -> Iterator[Row]:
    """Towers in the precision of the device against float32 on the CPU, and a run that goes on where it was cut."""
    es = wb.dataset("emoji").only(["text", "color"])

    def trained(folder: Path, name: str, at: str, steps: int, **settings: Any) -> wb.Run:
        return wb.train(
            "infonce", data=es, out=folder / name, device=at, steps=steps, evaluate=10, dropout=0.0, **settings
        )

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        there, here = trained(folder, "there", device, 20), trained(folder, "here", "cpu", 20, precision="32-true")
        last = [r.looks[-1]["loss"] for r in (there, here)]
        yield checked("loop", f"loss after 20 steps, {last[0]:.4f} and {last[1]:.4f} on the CPU", error(*last), NARROW)
        again = wb.Run(folder / "there")
        step = max(again.checkpoints)
        whole = {m: again.snapshot(step)[m] for m in es.modalities}
        again.checkpoints[step].unlink()
        shutil.rmtree(again.snapshots[step])
        again.forget_after(step - 10)
        trained(folder, "there", device, 20, resume=True)
        apart = max(float((again.snapshot(step)[m] - x).abs().max()) for m, x in whole.items())
        yield checked(
            "loop", "cut after 10 of 20 steps and gone on, against whole", apart, 0.0 if device == "cpu" else EXACT
        )


# -- timings -------------------------------------------------------------------------------------------------------


def waited(job: Callable[[], object], device: str) -> float:
    """Seconds of a job the second time, with what a card still does."""

    def whole() -> None:
        job()
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    whole()
    return seconds(whole)


def timed(part: str, what: str, took: float, bound: float = math.nan, flops: float = math.nan) -> Row:
    return {"part": part, "what": what, "seconds": took, "times": took / bound, "tflops": flops / took / 1e12}


def suite(device: str, n: int, d: int) -> Iterator[Row]:
    """The default suite against the products that no exact method can avoid: a·a and b·b by halves, a·b whole."""
    es = pairs(n, d)
    on = wb.EmbeddingSet({m: es[m] for m in es.modalities}, es.items)
    rows = {m: es[m].to(device) for m in es.modalities}
    base = waited(lambda: bare(rows), device)  # type: ignore[arg-type]  # read as a set is
    what = f"{n:,} × {d} × 2"
    yield timed("suite", f"{what}: the bare products", base, base, 2.0 * 2 * n * n * d)
    yield timed("suite", f"{what}: the default suite", waited(lambda: wb.diagnose(on, device=device), device), base)


def kernel(device: str, d: int) -> Iterator[Row]:
    """The kernel for cards: whether it proves itself, and a tile's questions answered by tensors and by the kernel."""
    from workbench.scan.device import FITS
    from workbench.scan.reductions import plain

    try:
        from workbench.scan.reductions import card
    except ImportError as e:
        yield {"part": "kernel", "what": f"the kernel needs Triton: {e}"}
        return
    at = torch.device(device)
    yield checked("kernel", "differs from tensors where products are exact", float(not card.proved(at)), 0.0)
    n = FITS[at.type].tile
    view = SetView(pairs(n, d))
    q, k = (Rows(view, m, torch.arange(n), view.es[m].to(at)) for m in "ab")
    limit = torch.full((1, n), 0.2)
    edge = torch.full((n,), 0.15)

    def asked() -> list[Any]:
        tile = Tile(q, k, reduce=plain)
        sides = (tile, tile.back())
        questions = (Potentials(2.0), Between(limit, limit + 1e-4), Best(12, False, None, edge.clone()))
        return [(side, ask) for side in sides for ask in questions]

    base = waited(lambda: q.x @ k.x.T, device)
    what = f"a tile of {n:,} × {n:,} × {d}"
    yield timed("kernel", f"{what}: the bare product", base, base, 2.0 * n * n * d)
    yield timed("kernel", f"{what}: all of both sides in tensors", waited(lambda: one_by_one(asked()), device), base)
    yield timed("kernel", f"{what}: by the kernel", waited(lambda: card.answers(asked()), device), base)


def contrast(device: str, b: int, d: int) -> Iterator[Row]:
    """A step of InfoNCE, plain where its matrix fits, and in tiles, against the bare product and its two gradients."""
    rows = [torch.nn.functional.normalize(torch.randn(b, d, device=device), dim=1).requires_grad_() for _ in range(2)]
    flat = [x.detach() for x in rows]
    size = 2**13

    def products() -> None:
        for k in range(0, b, size):
            s = flat[0][k : k + size] @ flat[1].T
            s @ flat[1]
            s.T @ flat[0][k : k + size]

    base = waited(products, device)
    what = f"InfoNCE, B = {b:,}, d = {d}"
    yield timed("contrast", f"{what}: three bare products", base, base, 6.0 * b * b * d)
    yield timed("contrast", f"{what}: in tiles", waited(lambda: tiled.infonce(*rows, 0.07).backward(), device), base)
    if 3 * 4 * b * b < 40e9 and (b <= 16_384 or device.startswith("cuda")):
        plain = waited(lambda: heads.symmetric(rows[0] @ rows[1].T / 0.07).backward(), device)
        yield timed("contrast", f"{what}: plain", plain, base)


def maps(device: str, n: int, d: int) -> Iterator[Row]:
    """The map of all rows: UMAP on the CPU, TorchDR's on a card where it is installed."""
    x = pairs(n, d)["a"]
    for name, project in NONLINEAR.items():
        try:
            yield timed("map", f"{name}, {n:,} × {d}", seconds(lambda p=project: p(x)))
        except InputError as e:
            yield {"part": "map", "what": f"{name}: {e}"}


def notebook(device: str, n: int) -> Iterator[Row]:
    """A report notebook on a kernel of its own, which sees the card."""
    from tests.commands import run_process

    with tempfile.TemporaryDirectory() as folder:
        pairs(n, 64).save(Path(folder) / "set")
        on = ["--gpus", "0"] if device.startswith("cuda") else []
        call = ["batch", "report", "--set", f"data={folder}/set", "-o", f"{folder}/out", *on]
        done: list[Any] = []
        took = seconds(lambda: done.append(run_process(*call)))
        failed = done[0].returncode
        said = done[0].stderr.strip().splitlines()[-1:] if failed else []
        yield timed("batch", f"a report notebook of {n:,} items{''.join(said)}", took) | {"ok": not failed}


def measured(device: str, small: bool) -> Iterator[Row]:
    """All parts; those that need no other first."""
    yield from diagnostics(device)
    yield from tiles(device, *((1_500, 32) if small else (6_000, 256)))
    yield from recipes(device)
    yield from tiled_contrast(device, *((600, 32) if small else (6_000, 256)))
    yield from loops(device)
    if device.startswith("cuda"):
        yield from kernel(device, 512)
    for n in (2_000,) if small else (100_000, 1_000_000):
        yield from suite(device, n, 64 if small else 512)
    yield from contrast(device, *((1_024, 64) if small else (65_536, 512)))
    if not small:
        yield from maps(device, 100_000, 64)
        yield from notebook(device, 20_000)


def table(rows: list[Row], name: str) -> str:
    """Checks that failed and the worst of the others, then times."""
    checks, times = [r for r in rows if "error" in r], [r for r in rows if "seconds" in r]
    lines = ["| checked | how many | worst relative error | allowed |", "|---|---|---|---|"]
    for part in dict.fromkeys(r["part"] for r in checks):
        mine = [r for r in checks if r["part"] == part]
        worst = max(mine, key=lambda r: r["error"] / max(r["limit"], 1e-12))
        lines.append(f"| {part} | {len(mine)} | {worst['error']:.1e}: {worst['what']} | {worst['limit']:g} |")
    lines += [
        f"| **fails** | {r['part']} | {r['error']:.1e}: {r['what']} | {r['limit']:g} |" for r in checks if not r["ok"]
    ]
    lines += ["", "| timed | seconds | × the bare products | TFLOP/s |", "|---|---|---|---|"]
    for r in times:
        rest = ["" if not math.isfinite(r[k]) else f"{r[k]:.2f}" for k in ("times", "tflops")]
        lines.append(f"| {r['what']} | {r['seconds']:.3g} | {' | '.join(rest)} |")
    lines += [f"| {r['what']} | | | |" for r in rows if "error" not in r and "seconds" not in r]
    return "\n".join([*lines, "", f"On {name}."])


def main(words: list[str] | None = None) -> int:
    """Run all, write what was found as it is found, and say whether every check holds."""
    take = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    take.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    take.add_argument("--small", action="store_true", help="seconds instead of minutes")
    take.add_argument("-o", "--out", type=Path, default=Path("gpu"), help="folder for gpu.json and gpu.md")
    asked = take.parse_args(words)
    card = torch.cuda.get_device_name() if asked.device.startswith("cuda") else "no card"
    name, rows = f"{card}; {machine()}", []
    for r in measured(asked.device, asked.small):
        rows.append(r)
        said = f"{r['error']:.1e}" if "error" in r else f"{r['seconds']:.3g} s" if "seconds" in r else ""
        print(f"{r['part']:<12}{said:<12}{r['what']}{'' if r.get('ok', True) else '   FAILS'}", flush=True)
        write_text(asked.out / "gpu.json", json.dumps(finite({"machine": name, "rows": rows}), indent=1) + "\n")
    write_text(asked.out / "gpu.md", table(rows, name) + "\n")
    return 0 if all(r.get("ok", True) for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
