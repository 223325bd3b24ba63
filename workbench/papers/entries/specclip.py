r"""Splitting each instrument's code into shared and private parts keeps what only one instrument sees out of the shared
part.

Maths
-----
$$L=\mathrm{symCE}(s\,z^s_Az^{s\top}_B)+\|\mathrm{dec}_A[z^s_A,z^p_A]-x_A\|_1+\|\mathrm{cross}_B(z^s_A)-x_B\|_1+\dots$$

Carried by
----------
recipe infonce with decoders

Code read
---------
Xiaosheng-Zhao/SpecCLIP

Deviations
----------
Towers learn from the start instead of heads on frozen ones; targets of both decoders are the same spectrum, which the
released code standardises for one only.

Data
----
202 real Raman spectra cut in two bands for two instruments; a slope of known size planted in the second, as ground
truth

What must move
--------------
share of the planted slope's variance told from the shared code (R²)

Control
-------
both trained on spectra without the slope: its R² from the shared code

Positive control
----------------
R² of the slope from the private code, against from an unplanted one

At this size
------------
A few hundred spectra of some 140 substances.

Own data
--------
its decoders need the spectra themselves and a nuisance that is known
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, measures, parts
from workbench.papers.catalogue import experiment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, unit


@cache
def spectra() -> tuple[Tensor, list[str]]:
    """The shipped Raman spectra (202, 676), each from 0 to 1, and what was measured."""
    import numpy as np
    import pandas as pd

    from workbench.sets.shipped import folder

    table = pd.read_parquet(folder() / "spectra.parquet")
    return torch.from_numpy(np.stack(table["spectrum"].tolist()).astype("float32")), table["family"].tolist()


class _Instrument(nn.Module):
    """An encoder to a shared and a private code, and decoders of its own spectrum and of the other's."""

    def __init__(self, width: int, other: int, private: int) -> None:
        super().__init__()
        self.private = private
        self.encode = bench.mlp(width, 32 + private)
        self.rebuild, self.predict = bench.mlp(32 + private, width), bench.mlp(32, other)

    def codes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encode(x)
        return z[:, :32], z[:, 32:]


@experiment(recipe="infonce", min_effect=0.1, better="lower", margin=0.1)
def specclip(trial: Trial) -> Outcome:
    """One code with decoders against a split one; each spectrum is drawn six times, with slope and noise anew."""
    x, family = spectra()
    g = torch.Generator().manual_seed(trial.seed)
    views = parts.split(trial, Part({"row": torch.arange(len(x))[:, None]}), family)
    ramp = torch.linspace(-1, 1, x.shape[1] // 2)

    def drawn(part: Part, times: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Both bands, the planted slope, and one that was drawn and not planted."""
        rows = x[part.x["row"][:, 0]].repeat(times, 1)
        a, b = rows.chunk(2, 1)
        slope, idle = (torch.randn(len(rows), generator=g) for _ in range(2))
        a, b = (v + 0.02 * torch.randn(v.shape, generator=g) for v in (a, b))
        return a, b + 0.3 * slope[:, None] * ramp, slope, idle

    many = 1 if trial.quick else 6
    data, tune, test = drawn(views.train, many), drawn(views.validation, many), drawn(views.test, many)
    level = data[1] - 0.3 * data[2][:, None] * ramp  # the second band as it would be without the slope

    def train(t: float, private: int, second: Tensor = data[1]) -> tuple[_Instrument, _Instrument]:
        torch.manual_seed(trial.seed)
        w = x.shape[1] // 2
        one, two = _Instrument(w, w, private), _Instrument(w, w, private)
        contrast = recipe("infonce", temperature=t)

        def loss(index: Tensor) -> Tensor:
            a, b = data[0][index], second[index]
            (sa, pa), (sb, pb) = one.codes(a), two.codes(b)
            total = contrast(Batch({"first": sa, "second": sb}))["loss"]
            total = total + (one.rebuild(torch.cat([sa, pa], 1)) - a).abs().mean() * 10
            total = total + (two.rebuild(torch.cat([sb, pb], 1)) - b).abs().mean() * 10
            return total + ((one.predict(sa) - b).abs().mean() + (two.predict(sb) - a).abs().mean()) * 10

        bench.fit([one, two, contrast], loss, len(data[0]), steps=trial.steps(400), seed=trial.seed, size=64)
        return one, two

    @torch.no_grad()
    def told(m: tuple[_Instrument, _Instrument], which: int, private: bool = False) -> float:
        """R² of a slope from the second instrument's code."""
        a, b = (m[1].codes(d[1])[1 if private else 0] for d in (data, test))
        return measures.r2(a, data[which], b, test[which])

    @torch.no_grad()
    def shared(m: tuple[_Instrument, _Instrument], of: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return {"first": unit(m[0].codes(of[0])[0], dim=1), "second": unit(m[1].codes(of[1])[0], dim=1)}

    def recall(m: tuple[_Instrument, _Instrument], of: tuple[Tensor, ...]) -> float:
        z = shared(m, of)
        return measures.recall(z["first"], z["second"], 5)

    grid = (0.05, 0.1, 0.3)
    one, t0 = contest.best(trial, grid, lambda t: train(t, 0), lambda m: recall(m, tune))
    parted, t1 = contest.best(trial, grid, lambda t: train(t, 16), lambda m: recall(m, tune))
    private = told(parted, 2, private=True)
    return Outcome(
        told(one, 2),
        told(parted, 2),
        (told(train(t0, 0, level), 2), told(train(t1, 16, level), 2)),
        (told(parted, 3, private=True), private),
        {
            "slope from the private code": private,
            "recall at 5 across instruments, baseline": recall(one, test),
            "recall at 5 across instruments, mechanism": recall(parted, test),
        },
        {"baseline": shared(one, test), "mechanism": shared(parted, test)},
    )
