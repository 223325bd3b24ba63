"""Self-distillation: a student tells what an averaged teacher says of another view, kept from collapse by a centre."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def told_apart(student: Tensor, teacher: Tensor, centre: Tensor, *, sharp: float = 0.04, soft: float = 0.1) -> Tensor:
    r"""Cross-entropy of the student against the sharpened, centred teacher: (…, K) twice → scalar, nats.

    $-\overline{\sum_k \mathrm{softmax}((t-c)/T_t)_k\log\mathrm{softmax}(s/T_s)_k}$; no gradient to the teacher. Without
    the centre, or not sharp enough, both end in one constant answer. Caron et al. 2021 (DINO).

    >>> t, s = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[0.5, 1.0, -1.0]])
    >>> round(told_apart(s, t, torch.zeros(3), sharp=0.01).item(), 6)
    0.006715
    """
    aim = ((teacher.detach() - centre) / sharp).softmax(-1)
    return -(aim * (student / soft).log_softmax(-1)).sum(-1).mean()


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, share: float) -> None:
    """Move a teacher's weights towards the student's by a share of the way, 0 … 1.

    >>> a, b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> _, _ = nn.init.ones_(a.weight), nn.init.zeros_(b.weight)
    >>> follow(a, b, 0.25)
    >>> a.weight.item()
    0.75
    """
    for old, new in zip(teacher.parameters(), student.parameters(), strict=True):
        old.lerp_(new, share)


def answer_entropy(logits: Tensor, sharp: float = 0.04) -> float:
    """Entropy of the mean answer over its most, 0 … 1: near 0 a teacher has collapsed to one answer. (N, K).

    >>> answer_entropy(torch.eye(4)) > 0.99, answer_entropy(torch.eye(4)[[0, 0]]) < 0.01
    (True, True)
    """
    mean = (logits / sharp).softmax(-1).mean(0)
    return float(-torch.special.xlogy(mean, mean).sum() / torch.log(torch.tensor(float(logits.shape[-1]))))
