"""Digits of scikit-learn and their names, cut and put together as the experiments need them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from workbench.papers.paper import Trial
from workbench.papers.parts import Part, Views, split, unit

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAMES = {
    "en": CLASSES,
    "de": ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
    "es": ("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"),
    "fr": ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"),
    "it": ("zero", "uno", "due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove"),
    "pt": ("zero", "um", "dois", "três", "quatro", "cinco", "seis", "sete", "oito", "nove"),
}


@cache
def digits() -> tuple[Tensor, Tensor]:
    """The handwritten digits of scikit-learn, (1797, 8, 8) in 0 … 1, and their classes."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    return torch.from_numpy(raw.images.astype(np.float32) / 16), torch.from_numpy(raw.target.astype(np.int64))


def views_of_digits(trial: Trial, **views: Callable[[Tensor], Tensor]) -> Views:
    """Digits cut into aligned views, such as `left=lambda x: x[:, :, :4]`, each flattened."""
    x, y = digits()
    x, y = x[: trial.count(len(x), 160)], y[: trial.count(len(y), 160)]
    return split(trial, Part({m: f(x).flatten(1) for m, f in views.items()}, y))


def whole(trial: Trial) -> Views:
    """Every digit as it is, (N, 64), in a quick look too: what is put together of digits needs all ten classes."""
    x, y = digits()
    return split(trial, Part({"whole": x.flatten(1)}, y))


def patches(x: Tensor) -> Tensor:
    """Digits as 16 patches of four pixels, each with its place as a one-hot: (N, 64) → (N, 16, 20)."""
    cut = x.view(-1, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(len(x), 16, 4)
    return torch.cat([cut, torch.eye(16).expand(len(x), 16, 16)], 2)


def pools(trial: Trial) -> list[list[Tensor]]:
    """Digits of training, tuning and test by class: three lists of ten stacks (n, 64)."""
    views = whole(trial)
    return [[p.x["whole"][p.y == c] for c in range(10)] for p in (views.train, views.validation, views.test)]


def sample_digit(pool: list[Tensor], c: int, g: torch.Generator) -> Tensor:
    """One digit of a class."""
    return pool[c][int(torch.randint(len(pool[c]), (1,), generator=g))]


LEFT, RIGHT = (lambda x: x[:, :, :4]), (lambda x: x[:, :, 4:])
TOP, BOTTOM = (lambda x: x[:, :4]), (lambda x: x[:, 4:])


def ngrams(word: str, width: int = 256) -> Tensor:
    """A word as counts of its letters, pairs and triples of letters, hashed to `width` numbers of length one."""
    import zlib

    word, v = f"^{word}$", torch.zeros(width)
    for n in (1, 2, 3):
        for k in range(len(word) - n + 1):
            v[zlib.crc32(word[k : k + n].encode()) % width] += 1
    return unit(v, dim=0)


@cache
def names(language: str = "en") -> Tensor:
    """The names of the ten digits as n-grams, (10, 256)."""
    return torch.stack([ngrams(w) for w in NAMES[language]])


def augmented(x: Tensor, g: torch.Generator) -> Tensor:
    """Digits (B, 8, 8) turned by up to 17°, scaled by up to 15 %, shifted by up to a pixel and a half, and noised."""
    b = len(x)
    turn, scale = (torch.rand(b, generator=g) - 0.5) * 0.6, 1 + (torch.rand(b, generator=g) - 0.5) * 0.3
    shift = (torch.rand(b, 2, generator=g) - 0.5) * 0.35
    turned = torch.stack([turn.cos() * scale, -turn.sin(), turn.sin(), turn.cos() * scale], 1).view(b, 2, 2)
    grid = nn.functional.affine_grid(torch.cat([turned, shift[:, :, None]], 2), [b, 1, 8, 8], align_corners=False)
    out = nn.functional.grid_sample(x[:, None], grid, align_corners=False)[:, 0]
    return out + 0.1 * torch.randn(out.shape, generator=g)
