r"""Rebuilding hidden patches from a text, with those hidden that are most like the text, makes the rebuilding lean on
the text more than hiding patches at random does.

Maths
-----
$$L=\mathrm{ITC}+\mathrm{IC}+w\,\overline{\|x_m-\hat x_m(\text{visible},\text{text})\|^2},\quad m=\text{the patches
most like the text}$$

Carried by
----------
workbench.papers.entries.sycoca.hidden

Deviations
----------
No code could be found: half of the patches are hidden, the target is pixels, and the weight is tuned with the arms. A
caption is the name of one digit.

Data
----
canvases of 12 × 12 with one scikit-learn digit among sparse clutter, as 36 patches; number words

What must move
--------------
share of the error at the digit's own hidden ink that the right word takes away, against a wrong one

Control
-------
both arms on words dealt among the canvases: the share

Positive control
----------------
the share without reading the text, which is nothing, and that of the baseline

At this size
------------
Both arms are judged with the same patches hidden, those of the digit's ink: judged by its own, an arm is rewarded for
what it hides.

Own data
--------
a set has no patches, and no text to rebuild them from
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from workbench.papers import bench, contest, digits, measures
from workbench.papers.catalogue import experiment
from workbench.papers.contest import Step
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import Part, Views, unit

SIDE, PATCHES, WIDTH, HALF, WARM = 12, 36, 48, 18, 30


def canvases(part: Part, g: torch.Generator) -> Part:
    """{patches (N, 36, 4), ink (N, 36)}: a digit at one of nine places among clutter."""
    x = part.x["whole"].view(-1, 8, 8)
    n = len(x)
    canvas = 0.8 * torch.rand(n, SIDE, SIDE, generator=g) * (torch.rand(n, SIDE, SIDE, generator=g) < 0.15)
    ink = torch.zeros(n, SIDE, SIDE)
    for k, (a, b) in enumerate((2 * torch.randint(0, 3, (n, 2), generator=g)).tolist()):
        canvas[k, a : a + 8, b : b + 8] = x[k]
        ink[k, a : a + 8, b : b + 8] = (x[k] > 0.3).float()

    def cut(t: Tensor) -> Tensor:
        return t.view(n, 6, 2, 6, 2).permute(0, 1, 3, 2, 4).reshape(n, PATCHES, 4)

    return Part({"patches": cut(canvas), "ink": cut(ink).mean(2)}, part.y)


def hidden(score: Tensor, count: int = HALF) -> Tensor:
    """Where the `count` highest scores of each row are, (N, P) of booleans.

    >>> hidden(torch.tensor([[0.1, 0.9, 0.5]]), 1).tolist()
    [[False, True, False]]
    """
    return torch.zeros_like(score, dtype=torch.bool).scatter(1, score.topk(count, 1).indices, True)


class Captioner(nn.Module):
    """Patches and a word, each as vectors; a name of the picture; and the patches that were hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(0.1 * torch.randn(PATCHES, WIDTH))
        self.patch = nn.Sequential(  # four pixels and whether they are hidden
            nn.Conv2d(5, 32, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(32, WIDTH, 1),
        )
        self.encoder, self.decoder = (self._layers(n) for n in (1, 1))
        self.text, self.told, self.out = bench.mlp(256, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 4)
        self.ask = nn.Parameter(0.1 * torch.randn(1, 1, WIDTH))
        self.read, self.name = nn.MultiheadAttention(WIDTH, 4, batch_first=True), nn.Linear(WIDTH, 10)

    @staticmethod
    def _layers(count: int) -> nn.Module:
        one = nn.TransformerEncoderLayer(WIDTH, 4, 96, 0.0, batch_first=True, norm_first=True)
        return nn.TransformerEncoder(one, count, enable_nested_tensor=False)

    def words(self) -> Tensor:
        """The ten words, (10, d)."""
        return self.text(digits.names())

    def picture(self, x: Tensor, gone: Tensor | None = None) -> Tensor:
        """Patches (N, 36, d), some of them blank."""
        off = torch.zeros(x.shape[:2]) if gone is None else gone.float()
        seen = torch.cat([x * (1 - off[..., None]), off[..., None]], 2)
        z = self.patch(seen.mT.reshape(len(x), 5, 6, 6)).flatten(2).mT
        return self.encoder(z + self.place)

    def rebuilt(self, x: Tensor, text: Tensor, gone: Tensor) -> Tensor:
        """Pixels of all patches, from those not gone and the text."""
        every = torch.cat([self.told(text)[:, None], self.picture(x, gone)], 1)
        return self.out(self.decoder(every)[:, 1:])

    def named(self, x: Tensor, gone: Tensor | None = None) -> Tensor:
        """Logits of the ten names, from patches that are not gone."""
        z = self.picture(x, gone)
        return self.name(self.read(self.ask.expand(len(x), -1, -1), z, z)[0][:, 0])


@experiment(moves="answers", min_effect=0.02)
def sycoca(trial: Trial) -> Outcome:
    """Patches hidden at random against those most like the text, and for the caption those least like it; three weights
    of the rebuilding for both, 300 steps of 32 canvases.
    """
    g = trial.generator()
    views = Views(*(canvases(p, g) for p in digits.whole(trial)))
    if trial.quick:
        views = Views(*(p.take(torch.arange(30)) for p in views))

    def loss(m: Captioner, batch: Part, step: Step, attentive: bool) -> Tensor:
        x, y, text = batch.x["patches"], batch.truth, m.words()
        z = m.picture(x)
        total = nn.functional.cross_entropy(unit(z.mean(1), dim=1) @ unit(text, dim=1).T / 0.1, y)
        like = torch.rand(x.shape[:2], generator=step.draw)
        other = torch.rand(x.shape[:2], generator=step.draw)
        if attentive and step.number > WARM:
            like = torch.einsum("npd,nd->np", unit(z.detach(), dim=2), unit(text.detach(), dim=1)[y])
            other = -like
        total = total + nn.functional.cross_entropy(m.named(x, hidden(other)), y)
        gone = hidden(like)
        error = (m.rebuilt(x, text[y], gone) - x).square().mean(2)
        return total + step.setting * error[gone].mean()

    def treatment(attentive: bool) -> contest.Treatment[Captioner]:
        return contest.by_loss(
            lambda _: Captioner(),
            partial(loss, attentive=attentive),
            (10.0, 30.0, 100.0),
            steps=300,
            size=trial.count(32, 8),
        )

    def gain(m: Captioner, part: Part) -> float:
        x, y, text, ink = part.x["patches"], part.truth, m.words(), part.x["ink"]
        draw = torch.Generator().manual_seed(1)
        gone = hidden(ink + 1e-3 * torch.rand(ink.shape, generator=draw))
        wrong = (y + torch.randint(1, 10, y.shape, generator=draw)) % 10

        def error(word: Tensor) -> float:
            return float(((m.rebuilt(x, text[word], gone) - x).square().mean(2) * ink)[gone].sum())

        return 1 - error(y) / error(wrong)

    def beside(m: Captioner, part: Part) -> dict[str, float]:
        x, text = part.x["patches"], unit(m.words(), dim=1)
        z = m.picture(x)
        like = torch.einsum("npd,nd->np", unit(z, dim=2), text[part.y])
        areas = [measures.auc(like[k], part.x["ink"][k] > 0.2) for k in range(0, len(part), 4)]
        return {
            "naming": measures.right(unit(z.mean(1), dim=1) @ text.T, part.y),
            "AUROC of the ink by likeness to the word": float(torch.tensor(areas).nanmean()),
        }

    found = contest.tuned(trial, treatment(False), treatment(True), views, gain)
    dealt = views.train.relabelled(g)
    return found.outcome(
        control=found.retrained(dealt),
        positive=(0.0, found.score(found.baseline)),
        also=found.beside(beside),
        rows=found.rows(
            lambda m, p: {
                "picture": unit(m.picture(p.x["patches"]).mean(1), dim=1),
                "word": unit(m.words(), dim=1)[p.y],
            }
        ),
    )
