"""What travels between Python and a map: columns of bytes, masks of one bit a point, polygons."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np

# viridis without its ends, which vanish on white and on black; blended between
VIRIDIS = ["482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "5dc863"]


def fair_order(n: int) -> np.ndarray:
    """A fixed random order of n points: every prefix of it is a fair sample of all."""
    return np.random.default_rng(20).permutation(n)


def bits(mask: np.ndarray) -> bytes:
    """A mask (n,) as packed bits, lowest first."""
    return np.packbits(mask, bitorder="little").tobytes()


def ramp(steps: int = 256) -> list[str]:
    """The middle of viridis as hex colours, dark to light."""
    stops = np.array([[int(h[i : i + 2], 16) for i in (0, 2, 4)] for h in VIRIDIS], dtype=float)
    at = np.linspace(0, len(stops) - 1, steps)
    rgb = np.stack([np.interp(at, np.arange(len(stops)), stops[:, c]) for c in range(3)], 1)
    return ["#" + "".join(f"{round(v):02x}" for v in row) for row in rgb]


def inside(xy: np.ndarray, polygon: Sequence[Sequence[float]]) -> np.ndarray:
    """Which points lie inside a polygon, (n,) bool: crossings of a ray to the right, even-odd."""
    corners = np.asarray(polygon, dtype=float)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        return np.zeros(len(xy), dtype=bool)
    out = np.zeros(len(xy), dtype=bool)
    low, high = corners.min(0), corners.max(0)
    near = np.flatnonzero(((xy >= low) & (xy <= high)).all(1))
    x, y = xy[near].T
    crossed = np.zeros(len(near), dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if ay == by:
            continue
        spans = (ay > y) != (by > y)
        crossed ^= spans & (x < ax + (y - ay) * (bx - ax) / (by - ay))
    out[near] = crossed
    return out


def png(xy: np.ndarray, colours: np.ndarray, lines: np.ndarray | None = None, *, width: int, height: int) -> bytes:
    """The map as a picture (n points, colours (n, 3) bytes), for places where nothing can be drawn; lines (k, 4)."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (width, height), "white")
    if len(xy):
        low, high = xy.min(0), xy.max(0)
        scale = 0.92 * min(width / max(high[0] - low[0], 1e-9), height / max(high[1] - low[1], 1e-9))
        middle = (low + high) / 2
        flip = np.array([1, -1])
        place = (xy - middle) * scale * flip + np.array([width, height]) / 2
        draw = ImageDraw.Draw(picture)
        for ends in () if lines is None else lines:
            a, b = ((p - middle) * scale * flip + np.array([width, height]) / 2 for p in ends.reshape(2, 2))
            draw.line([*a, *b], fill=(150, 150, 150))
        canvas = np.array(picture)
        half = 1 if len(xy) > 20_000 else 2 if len(xy) > 2_000 else 3
        column, row = np.rint(place).astype(int).T
        for dy in range(-half, half + 1):
            for dx in range(-half, half + 1):
                r, c = np.clip(row + dy, 0, height - 1), np.clip(column + dx, 0, width - 1)
                canvas[r, c] = colours
        picture = Image.fromarray(canvas)
    file = io.BytesIO()
    picture.save(file, "png")
    return file.getvalue()


def data_url(raw: object) -> str:
    """A PNG or JPEG of an item as a data URL; empty where the bytes are no such picture."""
    if not isinstance(raw, bytes):
        return ""
    kind = "png" if raw[:8] == b"\x89PNG\r\n\x1a\n" else "jpeg" if raw[:3] == b"\xff\xd8\xff" else ""
    return f"data:image/{kind};base64,{base64.b64encode(raw).decode()}" if kind else ""
