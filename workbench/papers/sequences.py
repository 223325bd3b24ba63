"""A small generator of token sequences under a condition, for the papers that prefer one sequence to another."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Sequence(nn.Module):
    """A recurrent generator: each token from those before it, its place, and a condition (B, hidden)."""

    def __init__(self, values: int, length: int, hidden: int = 96) -> None:
        super().__init__()
        self.values, self.length = values, length
        self.token = nn.Embedding(values + 1, 32)  # and the one that a sequence begins with
        self.place = nn.Embedding(length, 32)
        self.body = nn.GRU(64 + hidden, hidden, batch_first=True)
        self.head = nn.Linear(2 * hidden, values)

    def forward(
        self, before: Tensor, condition: Tensor, state: Tensor | None = None, at: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities (B, L, values) of the tokens that follow `before` (B, L) from place `at`, and the state."""
        steps = before.shape[1]
        place = self.place(torch.arange(at, at + steps)).expand(len(before), -1, -1)
        told = condition[:, None].expand(-1, steps, -1)
        start = condition[None].contiguous() if state is None else state
        out, state = self.body(torch.cat([self.token(before), place, told], 2), start)
        return self.head(torch.cat([out, told], 2)).log_softmax(2), state

    def log_p(self, x: Tensor, condition: Tensor) -> Tensor:
        """Log-probability of whole sequences (B, L) in nats, (B,)."""
        before = torch.cat([torch.full((len(x), 1), self.values), x[:, :-1]], 1)
        return self(before, condition)[0].gather(2, x[..., None])[..., 0].sum(1)

    @torch.no_grad()
    def sample(
        self, condition: Tensor, g: torch.Generator, *, free: Tensor | None = None, scale: float = 0.0
    ) -> Tensor:
        """Sequences drawn token by token, (B, L); guided by `scale` away from `free`, the condition of none."""
        x = torch.full((len(condition), 1), self.values)
        state = unled = None
        for k in range(self.length):
            log_p, state = self(x[:, -1:], condition, state, k)
            if free is not None:
                plain, unled = self(x[:, -1:], free, unled, k)
                log_p = log_p + scale * (log_p - plain)
            x = torch.cat([x, torch.multinomial(log_p[:, 0].softmax(1), 1, generator=g)], 1)
        return x[:, 1:]
