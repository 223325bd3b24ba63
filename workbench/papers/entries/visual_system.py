r"""A cross-validated linear map from vectors to responses, as a share of the noise ceiling, ranks encoders as their
features deserve: responses to meaning are told best by features of meaning.

Maths
-----
$$\text{score}=r(\hat y,\bar y)\Big/\sqrt{\tfrac{2r_{12}}{1+r_{12}}},\qquad \hat y=W x,\ W\text{ by ridge}$$

Carried by
----------
workbench.report.encoding.encoding_score

Code read
---------
NeuroML-Lab/Visual-Stream-Modeling

Deviations
----------
Responses are planted, four noisy repeats of each, for no measured ones could be had with a package. The readout that
moves its field with the picture is not built.

Data
----
scikit-learn digits; 20 responses that follow smoothed pixels and 20 that follow the class; as encoders, principal
components of pixels and the hidden layer of a classifier

What must move
--------------
share of the noise ceiling of responses to meaning, by features of form and of meaning

Control
-------
responses dealt among the digits: both shares

Positive control
----------------
share of the noise ceiling of responses to form, by features of meaning and of form

At this size
------------
The classes of digits can be told from their pixels, so that features of form explain meaning in part.

Own data
--------
responses stand beside no set; workbench.report.encoding.encoding_score takes vectors and responses of yours
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.papers import bench, digits
from workbench.papers.catalogue import experiment
from workbench.papers.paper import Outcome, Trial
from workbench.papers.parts import unit
from workbench.report.encoding import encoding_score, noise_ceiling

VOXELS, REPEATS, NOISE, WIDTH = 20, 4, 1.5, 32


@experiment(moves="space", min_effect=0.1, margin=0.1)
def visual_system(trial: Trial) -> Outcome:
    """The same ridge, its strength chosen on the validation part, from features of form and of meaning; both of 32
    numbers.
    """
    views, g = digits.whole(trial), trial.generator()
    torch.manual_seed(trial.seed)
    body, head = bench.mlp(64, WIDTH), nn.Linear(WIDTH, 10)
    train = views.train
    bench.teach(
        [body, head], lambda x: head(body(x)), train.x["whole"], train.truth, steps=trial.steps(300), seed=trial.seed
    )
    centre = train.x["whole"].mean(0)
    axes = torch.linalg.svd(train.x["whole"] - centre, full_matrices=False).Vh[:WIDTH]
    with torch.no_grad():
        form = tuple((p.x["whole"] - centre) @ axes.T for p in views)
        meaning = tuple(body(p.x["whole"]) for p in views)

    fields, liked = torch.randn(64, VOXELS, generator=g), torch.randn(10, VOXELS, generator=g)

    def repeated(signal: Tensor) -> Tensor:
        signal = (signal - signal.mean(0)) / signal.std(0).clamp_min(1e-6)
        return signal[:, :, None] + NOISE * torch.randn(*signal.shape, REPEATS, generator=g)

    def smooth(x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x.view(-1, 1, 8, 8), 3, stride=1, padding=1).flatten(1)

    to_form = tuple(repeated(smooth(p.x["whole"]) @ fields) for p in views)
    to_meaning = tuple(repeated(liked[p.truth]) for p in views)
    dealt = tuple(r[torch.randperm(len(r), generator=g)] for r in to_meaning)

    def share(vectors: tuple[Tensor, ...], responses: tuple[Tensor, ...]) -> float:
        (a, b, c), (x, y, z) = vectors, responses
        return float(encoding_score((a, b, c), (x, y, z))[0].nanmean())

    return Outcome(
        share(form, to_meaning),
        share(meaning, to_meaning),
        control=(share(form, dealt), share(meaning, dealt)),
        positive=(share(meaning, to_form), share(form, to_form)),
        also={
            "noise ceiling of responses to meaning": float(noise_ceiling(to_meaning[2]).nanmean()),
            "noise ceiling of responses to form": float(noise_ceiling(to_form[2]).nanmean()),
        },
        rows={
            "baseline": {"form": unit(form[2], dim=1), "response": _wide(to_meaning[2])},
            "mechanism": {"meaning": unit(meaning[2], dim=1), "response": _wide(to_meaning[2])},
        },
        labels=views.test.truth,
    )


def _wide(repeats: Tensor) -> Tensor:
    """Mean responses as unit vectors of the width of the features."""
    return unit(nn.functional.pad(repeats.mean(2), (0, WIDTH - VOXELS)), dim=1)
