"""Papers that part what is shared from what is private: common and salient spaces, instruments of two kinds."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from workbench.objectives.batch import Batch
from workbench.objectives.recipes import recipe
from workbench.papers import lab, measures
from workbench.papers.base import Measured, Trial, experiment
from workbench.papers.lab import Part, unit

cross = nn.functional.cross_entropy


@experiment(
    "sepclr",
    claim="Maximising a kernel joint entropy of common and salient codes keeps what only targets have out of the "
    "common "
    "space.",
    maths=r"$$J=\overline{\log\overline{k(s'_i,s'_j)\,k(c_i,c_j)}},\quad k=e^{-\|\cdot\|^2/2\tau}$$",
    carrier="recipe sepclr; workbench.geometry.joint_entropy",
    code="neurospin-projects/2024_rlouiset_sep_clr",
    deviations="Dense encoders on small pictures, 400 steps.",
    data="two scikit-learn digits side by side: the left one in every item, the right one in targets only",
    quantity="accuracy of telling the right digit from the common space",
    better="lower",
    least=0.03,
    control="both weights with target and background dealt at random in training: the same accuracy",
    positive="telling the right digit from the salient space, against chance",
    small="The common label pays as well: what separates here also erases.",
    alone="it needs a background and a target group and two looks at each item, and a set has neither",
)
def sepclr(trial: Trial) -> Measured:
    """The recipe without and with its joint term; four linear probes for each, two learning rates for both."""
    g = torch.Generator().manual_seed(trial.seed)
    parts = lab.whole(trial)

    def pairs(part: Part, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pictures (count, 128), left class, right class, and whether the right digit is there."""
        a, b = (torch.randint(len(part), (count,), generator=g) for _ in range(2))
        target = torch.rand(count, generator=g) < 0.5
        left, right = (part.x["whole"][i].view(-1, 8, 8) for i in (a, b))
        assert part.y is not None
        both = torch.cat([left, right * target[:, None, None]], 2).flatten(1)
        return both, part.y[a], part.y[b], target

    sizes = (trial.count(2000, 80), trial.count(500, 60), trial.count(800, 60))
    data, tune, test = (pairs(p, n) for p, n in zip((parts.train, parts.validation, parts.test), sizes, strict=True))

    dealt = data[3][torch.randperm(len(data[3]), generator=g)]

    def train(lr: float, joint: float, targets: Tensor = data[3]) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(trial.seed)
        common, salient = lab.mlp(128), lab.mlp(128)
        objective = recipe("sepclr", joint=joint)
        draw = torch.Generator().manual_seed(trial.seed)

        def look(x: Tensor) -> Tensor:
            x = (x + 0.2 * torch.randn(x.shape, generator=draw)) * (torch.rand(x.shape, generator=draw) > 0.2)
            return torch.cat([common(x), salient(x)], 1)

        def loss(index: Tensor, step: int) -> Tensor:
            x, target = data[0][index], targets[index].long()
            return objective(Batch({"one": look(x), "two": look(x)}, labels=target))["loss"]

        lab.fit([common, salient], loss, len(data[0]), steps=trial.steps(400), seed=trial.seed, lr=lr)
        return common, salient

    def told(m: nn.Module, which: int, of: tuple[Tensor, ...]) -> float:
        """Accuracy of a linear probe, taught on the training part, among targets."""
        with torch.no_grad():
            a, b = unit(m(data[0][data[3]]), dim=1), unit(m(of[0][of[3]]), dim=1)
        return measures.probe(a, data[which][data[3]], b, of[which][of[3]])

    rates = (1e-3, 3e-3)
    # tuned for what the common space is for: the left digit
    plain, r0 = lab.best(trial, rates, lambda r: train(r, 0.0), lambda m: told(m[0], 1, tune))
    apart, r1 = lab.best(trial, rates, lambda r: train(r, 10.0), lambda m: told(m[0], 1, tune))
    also, rows = {}, {}
    for arm, m in (("baseline", plain), ("mechanism", apart)):
        also[f"left digit from the common space, {arm}"] = told(m[0], 1, test)
        also[f"left digit from the salient space, {arm}"] = told(m[1], 1, test)
        also[f"right digit from the salient space, {arm}"] = told(m[1], 2, test)
        with torch.no_grad():
            rows[arm] = {"common": unit(m[0](test[0][test[3]]), dim=1), "salient": unit(m[1](test[0][test[3]]), dim=1)}
    return Measured(
        told(plain[0], 2, test),
        told(apart[0], 2, test),
        (told(train(r0, 0.0, dealt)[0], 2, test), told(train(r1, 10.0, dealt)[0], 2, test)),
        (0.1, also["right digit from the salient space, baseline"]),
        also,
        rows,
        test[2][test[3]],
    )


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
        self.encode = lab.mlp(width, 32 + private)
        self.rebuild, self.predict = lab.mlp(32 + private, width), lab.mlp(32, other)

    def codes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encode(x)
        return z[:, :32], z[:, 32:]


@experiment(
    "specclip",
    claim="Splitting each instrument's code into shared and private parts keeps what only one instrument sees out of "
    "the shared part.",
    maths=r"$$L=\mathrm{symCE}(s\,z^s_Az^{s\top}_B)+\|\mathrm{dec}_A[z^s_A,z^p_A]-x_A\|_1+"
    r"\|\mathrm{cross}_B(z^s_A)-x_B\|_1+\dots$$",
    carrier="recipe infonce with decoders",
    code="Xiaosheng-Zhao/SpecCLIP",
    deviations="Towers learn from the start instead of heads on frozen ones; targets of both decoders are the same "
    "spectrum, which the released code standardises for one only.",
    data="202 real Raman spectra cut in two bands for two instruments; a slope of known size planted in the second, as "
    "ground truth",
    quantity="share of the planted slope's variance told from the shared code (R²)",
    better="lower",
    least=0.1,
    control="both trained on spectra without the slope: its R² from the shared code",
    margin=0.1,
    positive="R² of the slope from the private code, against from an unplanted one",
    small="A few hundred spectra of some 140 substances.",
    alone="its decoders need the spectra themselves and a nuisance that is known",
)
def specclip(trial: Trial) -> Measured:
    """One code with decoders against a split one; each spectrum is drawn six times, with slope and noise anew."""
    x, family = spectra()
    g = torch.Generator().manual_seed(trial.seed)
    views = lab.split(trial, Part({"row": torch.arange(len(x))[:, None]}), family)
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

        def loss(index: Tensor, step: int) -> Tensor:
            a, b = data[0][index], second[index]
            (sa, pa), (sb, pb) = one.codes(a), two.codes(b)
            total = contrast(Batch({"first": sa, "second": sb}))["loss"]
            total = total + (one.rebuild(torch.cat([sa, pa], 1)) - a).abs().mean() * 10
            total = total + (two.rebuild(torch.cat([sb, pb], 1)) - b).abs().mean() * 10
            return total + ((one.predict(sa) - b).abs().mean() + (two.predict(sb) - a).abs().mean()) * 10

        lab.fit([one, two, contrast], loss, len(data[0]), steps=trial.steps(400), seed=trial.seed, size=64)
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
    one, t0 = lab.best(trial, grid, lambda t: train(t, 0), lambda m: recall(m, tune))
    parted, t1 = lab.best(trial, grid, lambda t: train(t, 16), lambda m: recall(m, tune))
    private = told(parted, 2, private=True)
    return Measured(
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
