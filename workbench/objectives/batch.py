"""Batch: what every term of every objective is a pure function of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from workbench.errors import InputError, unknown


@dataclass
class Batch:
    """Vectors of B items in several modalities, and what a term may want to know beside them.

    `modalities` {name: (B, d)}; the first is the anchor where one is needed. `keys` {name: (K, d)}: what a query may
    meet, row-aligned across modalities (gathered rows, a queue); the batch itself if not given. `positive` (B,): the
    key row of each query. `present` {name: (B,) bool}: rows that exist, where a modality may be missing.
    `negatives` {name: (B, H, d)} mined, `labels` (B,), `teacher` {name: (B, d')} frozen or averaged vectors,
    `tokens` {name: (B, T, d)} with `tokens_present` {name: (B, T) bool}.

    >>> batch = Batch({"image": torch.eye(3), "text": torch.eye(3)})
    >>> len(batch), batch.anchor
    (3, 'image')
    """

    modalities: Mapping[str, Tensor]
    keys: Mapping[str, Tensor] | None = None
    positive: Tensor | None = None
    present: Mapping[str, Tensor] | None = None
    negatives: Mapping[str, Tensor] | None = None
    labels: Tensor | None = None
    teacher: Mapping[str, Tensor] | None = None
    tokens: Mapping[str, Tensor] | None = None
    tokens_present: Mapping[str, Tensor] | None = None
    _unit: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if len(self.modalities) < 2:
            raise InputError(f"a batch needs two modalities or more, not {', '.join(self.modalities) or 'none'}")
        sizes = {m: len(x) for m, x in self.modalities.items()}
        if len(set(sizes.values())) > 1:
            raise InputError(f"the modalities of a batch need equal numbers of rows, not {sizes}")

    def __len__(self) -> int:
        return len(next(iter(self.modalities.values())))

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities, in order."""
        return tuple(self.modalities)

    @property
    def anchor(self) -> str:
        """The first modality, which others bind to."""
        return self.names[0]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every unordered pair of modalities."""
        return list(combinations(self.names, 2))

    def unit(self, name: str) -> Tensor:
        """Query rows of a modality, scaled to length one in float32 or wider: (B, d)."""
        return self._scaled("", name, self.modalities)

    def unit_keys(self, name: str) -> Tensor:
        """Key rows of a modality, scaled to length one: (K, d)."""
        return self.unit(name) if self.keys is None else self._scaled("keys:", name, self.keys)

    def _scaled(self, kind: str, name: str, source: Mapping[str, Tensor]) -> Tensor:
        if name not in source:
            raise unknown("modality", name, source)
        held = self._unit.get(kind + name)
        # rows that were first asked for without a gradient would cut the tower off from every term that follows
        cut = held is not None and not held.requires_grad and source[name].requires_grad and torch.is_grad_enabled()
        if held is None or cut:
            held = self._unit[kind + name] = torch.nn.functional.normalize(wide(source[name]), dim=-1)
        return held

    @property
    def target(self) -> Tensor:
        """The key row of each query: (B,)."""
        if self.positive is not None:
            return self.positive
        return torch.arange(len(self), device=self.modalities[self.anchor].device)

    def has(self, *names: str) -> Tensor | None:
        """Queries for which all these modalities exist, (B,); nothing where none is ever missing."""
        masks = [self.present[n] for n in names if self.present and n in self.present]
        return torch.stack(list(masks)).all(0) if masks else None

    def keyed(self, *names: str) -> Tensor | None:
        """Keys that may be met, (K,): with keys of its own, a batch has only rows that exist."""
        return None if self.keys is not None else self.has(*names)

    def only(self, *names: str) -> Batch:
        """The rows that have all these modalities, in all fields: what is missing neither asks nor answers."""
        exists = self.has(*names)
        if exists is None or bool(exists.all()):
            return self

        def kept(x: Mapping[str, Tensor] | None) -> Mapping[str, Tensor] | None:
            return None if x is None else {k: v[exists] for k, v in x.items()}

        return Batch(
            {n: x[exists] for n, x in self.modalities.items()},
            present={n: x[exists] for n, x in (self.present or {}).items() if n not in names},
            negatives=kept(self.negatives),
            labels=None if self.labels is None else self.labels[exists],
            teacher=kept(self.teacher),
            tokens=kept(self.tokens),
            tokens_present=kept(self.tokens_present),
        )

    def need(self, what: str, why: str) -> Any:
        """A field that a term cannot do without, or one clear sentence."""
        value = getattr(self, what)
        if value is None:
            raise InputError(f"{why} needs Batch({what}=…)")
        return value

    def taught(self, name: str, why: str) -> Tensor:
        """The teacher's rows of a modality, without a gradient."""
        teacher = self.need("teacher", why)
        if name not in teacher:
            raise unknown("modality of the teacher", name, teacher)
        return wide(teacher[name]).detach()


def wide(x: Tensor) -> Tensor:
    """Float32 or wider: what losses are computed in, whatever the towers run in."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def nothing(*parts: Tensor) -> Tensor:
    """Zero, with a gradient of zero: what a batch without any row costs."""
    return torch.stack([p.sum() * 0.0 for p in parts]).sum()
