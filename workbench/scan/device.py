"""Where a scan computes, and what is fast there."""

from __future__ import annotations

from typing import NamedTuple

import torch

from workbench.errors import InputError


class Fit(NamedTuple):
    """What suits a device: rows a side of a tile, and bytes of float32 unit rows kept between tiles; their float64 and
    bfloat16 forms come on top."""

    tile: int
    kept: int


# on a CPU a product should dwarf what is done with it and yet stay in the cache; a card wants few, large ones
FITS = {"cpu": Fit(1_024, 64 << 20), "cuda": Fit(8_192, 2 << 30)}


def resolve_device(device: str) -> torch.device:
    """The device of a name; `auto` is a card where there is one. Raises `InputError` for one that is not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise InputError(f"device {device!r} is not known; give cpu, cuda, or auto") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {device!r}: no CUDA device here; give cpu, or auto")
    return found


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 products are faster here than float32's."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    known = torch.cpu.get_capabilities()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16") or known.get("bf16"))
