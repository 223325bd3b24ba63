"""Which keys of a tile belong to a query's own item, as ranges: rows of a tile ascend by item."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Own(NamedTuple):
    """Per query the first of its own item's keys and the one behind the last, and per key those of its queries."""

    first: Tensor  # (Q,)
    last: Tensor
    first_query: Tensor  # (K,)
    last_query: Tensor

    @classmethod
    def of(cls, query: Tensor, key: Tensor) -> Own:
        """From the items of the queries, (Q,), and of the keys, (K,), both ascending."""
        return cls(
            torch.searchsorted(key, query),
            torch.searchsorted(key, query, right=True),
            torch.searchsorted(query, key),
            torch.searchsorted(query, key, right=True),
        )

    def back(self) -> Own:
        """The same seen from the keys."""
        return Own(self.first_query, self.last_query, self.first, self.last)

    def mask(self, keys: int, device: torch.device) -> Tensor:
        """(Q, K) whether query and key belong to one item."""
        at = torch.arange(keys, device=device)[None]
        return (at >= self.first.to(device)[:, None]) & (at < self.last.to(device)[:, None])
