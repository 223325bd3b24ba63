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

from functools import cache, partial

import torch
from torch import Tensor, nn

from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import bench, contest, measures, parts
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
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


Model = tuple[_Instrument, _Instrument, nn.Module]  # and the objective of the contrast


@experiment(moves="space", recipe="infonce", min_effect=0.1, better="lower", margin=0.1)
def specclip(trial: Trial) -> Outcome:
    """One code with decoders against a split one; each spectrum is drawn six times, with slope and noise anew."""
    x, family = spectra()
    g, w = trial.generator(), x.shape[1] // 2
    ramp = torch.linspace(-1, 1, w)

    def drawn(part: Part, times: int) -> Part:
        """Both bands, the planted slope, and one that was drawn and not planted."""
        rows = part.x["spectrum"].repeat(times, 1)
        slope, idle = (torch.randn(len(rows), generator=g) for _ in range(2))
        a, b = (v + 0.02 * torch.randn(v.shape, generator=g) for v in rows.chunk(2, 1))
        return Part({"first": a, "second": b + 0.3 * slope[:, None] * ramp, "slope": slope, "idle": idle})

    views = parts.composed(trial, parts.split(trial, Part({"spectrum": x}), family), drawn, *[(6, 1)] * 3)
    train = views.train
    level = train.but(second=train.x["second"] - 0.3 * train.x["slope"][:, None] * ramp)

    def loss(m: Model, batch: Part, step: Step) -> Tensor:
        one, two, contrast = m
        a, b = batch.x["first"], batch.x["second"]
        (sa, pa), (sb, pb) = one.codes(a), two.codes(b)
        total = contrast(Batch({"first": sa, "second": sb}))["loss"]
        total = total + (one.rebuild(torch.cat([sa, pa], 1)) - a).abs().mean() * 10
        total = total + (two.rebuild(torch.cat([sb, pb], 1)) - b).abs().mean() * 10
        return total + ((one.predict(sa) - b).abs().mean() + (two.predict(sb) - a).abs().mean()) * 10

    def treatment(private: int) -> contest.Treatment[Model]:
        def build(t: float) -> Model:
            return _Instrument(w, w, private), _Instrument(w, w, private), recipe("infonce", temperature=t)

        return contest.by_loss(build, loss, (0.05, 0.1, 0.3), steps=400, size=64)

    def told(m: Model, part: Part, what: str = "slope", private: bool = False) -> float:
        """R² of a slope from the second instrument's code."""
        a, b = (m[1].codes(p.x["second"])[1 if private else 0] for p in (train, part))
        return measures.r2(a, train.x[what], b, part.x[what])

    def shared(m: Model, part: Part) -> dict[str, Tensor]:
        return {k: unit(one.codes(part.x[k])[0], dim=1) for k, one in (("first", m[0]), ("second", m[1]))}

    def recall(m: Model, part: Part) -> float:
        first, second = shared(m, part).values()
        return measures.recall(first, second, 5)

    found = contest.tuned(trial, treatment(0), treatment(16), views, told, choose=recall)
    unplanted, planted = (found.score(found.mechanism, partial(told, what=s, private=True)) for s in ("idle", "slope"))
    return found.outcome(
        control=found.retrained(level),
        positive=(unplanted, planted),
        also={"slope from the private code": planted}
        | found.beside(lambda m, part: {"recall at 5 across instruments": recall(m, part)}),
        rows=found.rows(shared),
    )
