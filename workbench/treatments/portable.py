"""A treatment as it is shipped: numpy alone, in one file that may be copied into a service.

A folder holds `treatment.json` (what is done to each modality, in order) and `treatment.safetensors` (the arrays).

    fix = Treatment.load("fix")
    stored = fix.transform(images, "image")                 # what an index holds, compared by inner product
    asked = fix.transform(texts, "text", role="query")      # what it is asked with
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = "workbench treatment 1"
ROLES = ("key", "query")
ROWS = 1_024  # at once: what stays in the cache between two steps
KINDS = {"F32": np.float32, "I64": np.int64}
LEVELS = {"int8": 127, "int4": 7}
TINY, HUGE = 1e-30, 1e30  # of squared lengths that float32 holds well
FAR = -4.0  # below every score: keys that the first look left out


class NoDirectionError(ValueError):
    """A row that is zero or not finite."""

    def __init__(self, row: int, what: str) -> None:
        super().__init__(f"row {row:,} is {what}: it has no direction")
        self.row, self.what = row, what


class Treatment:
    """What is done to the vectors of each modality, and how scores are made of them; `facts` is `treatment.json`."""

    def __init__(self, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        if facts.get("format") != FORMAT:
            raise ValueError(f"not a treatment of this kind: {facts.get('format')!r}, where {FORMAT!r} is read")
        self.facts, self.arrays = dict(facts), dict(arrays)
        steps = [step for about in facts["modalities"].values() for step in about["steps"]]
        named = {v for step in steps for k, v in step.items() if k != "do"}
        if lost := sorted(named - set(arrays)) or sorted({s["do"] for s in steps} - set(STEPS)):
            raise ValueError(f"{lost[0]} is missing")

    @classmethod
    def load(cls, folder: str | Path) -> Treatment:
        """Read a folder; raises `OSError` or `ValueError` where it is none."""
        folder = Path(folder)
        facts = json.loads((folder / "treatment.json").read_text(encoding="utf-8"))
        raw = (folder / "treatment.safetensors").read_bytes()
        size = int.from_bytes(raw[:8], "little")
        arrays, body = {}, raw[8 + size :]
        for name, about in json.loads(raw[8 : 8 + size]).items():
            if name != "__metadata__":
                start, stop = about["data_offsets"]
                arrays[name] = np.frombuffer(body[start:stop], KINDS[about["dtype"]]).reshape(about["shape"])
        return cls(facts, arrays)

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={v!r}" for k, v in self.facts.get("settings", {}).items())
        return f"Treatment({self.name}({settings}): {', '.join(self.modalities)})"

    @property
    def name(self) -> str:
        """What was done."""
        return str(self.facts["name"])

    @property
    def modalities(self) -> tuple[str, ...]:
        """Whose vectors it knows."""
        return tuple(self.facts["modalities"])

    @property
    def codec(self) -> Mapping[str, Any]:
        """How vectors are stored, where that is what was chosen; else nothing."""
        return self.facts.get("codec") or {}

    @property
    def bias(self) -> Mapping[str, Any]:
        """What is taken from the score of each key, where that is what was chosen; else nothing."""
        return self.facts.get("bias") or {}

    # -- vectors ---------------------------------------------------------------------------------------------------

    def transform(self, x: np.ndarray, modality: str, role: str = "key") -> np.ndarray:
        """Rows (n, d) as they are stored (`key`) or asked with (`query`): float32, of length one.

        Inner products of the two are the scores that were judged. Raises `ValueError` for rows that cannot be changed.
        """
        if role not in ROLES:
            raise ValueError(f"role {role!r}: key or query")
        width = self._about(modality)["width"]
        x = np.asarray(x)
        if x.dtype.kind not in "fiu":
            raise ValueError(f"numbers are due, but the array holds {x.dtype}")
        if x.ndim != 2 or x.shape[1] != width:
            raise ValueError(f"rows of {width} dimensions are due, but the array is {x.shape}")
        return self._by_parts(x, lambda part: self._changed(part, modality, role))

    @staticmethod
    def _by_parts(x: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        out: np.ndarray | None = None
        for i in range(0, max(len(x), 1), ROWS):
            try:
                part = change(x[i : i + ROWS])
            except NoDirectionError as e:
                raise NoDirectionError(i + e.row, e.what) from None
            if out is None:
                out = np.empty((len(x), *part.shape[1:]), dtype=part.dtype)
            out[i : i + len(part)] = part
        assert out is not None
        return out

    def _about(self, modality: str) -> Mapping[str, Any]:
        if modality not in self.facts["modalities"]:
            raise ValueError(f"no modality {modality!r} in this treatment; it has {', '.join(self.modalities)}")
        return self.facts["modalities"][modality]

    def _changed(self, x: np.ndarray, modality: str, role: str) -> np.ndarray:
        y = self.moved(x, modality)
        if self.bias:
            return self._with_bias(y, modality, role)
        if self.codec and role == "key":
            return unit(self._decoded(self._encoded(y, modality), modality))
        return y

    def moved(self, x: np.ndarray, modality: str) -> np.ndarray:
        """Rows after the changes of the space alone, of length one."""
        y = unit(x)
        for step in self._about(modality)["steps"]:
            y = unit(STEPS[step["do"]](y, {k: self.arrays[v] for k, v in step.items() if k != "do"}))
        return y

    # -- scores ----------------------------------------------------------------------------------------------------

    def _with_bias(self, y: np.ndarray, modality: str, role: str) -> np.ndarray:
        """Rows with a coordinate a modality that asks, and one that makes all keys equally long.

        A query has a one where its modality asks; a key has there what is taken from its score.
        """
        mine = self.modalities.index(modality)
        more = np.zeros((len(y), len(self.modalities) + 1), dtype=np.float32)
        if role == "query":
            more[:, mine] = 1
            return np.hstack([y, more]) / np.float32(2**0.5)
        for a, asking in enumerate(self.modalities):
            more[:, a] = -self.hubness(y, modality, asking)
        square = 1 + np.square(more).sum(1)
        more[:, -1] = np.sqrt(np.maximum(1 + len(self.modalities) - square, 0))
        return np.hstack([y, more]) / np.float32((1 + len(self.modalities)) ** 0.5)

    def hubness(self, y: np.ndarray, modality: str, asking: str) -> np.ndarray:
        """What is taken from the score of changed rows (n, d) as keys when `asking` asks: (n,), between −1 and 1."""
        about = self.bias
        if about["form"] == "offset":
            a, m = self.modalities.index(asking), self.modalities.index(modality)
            return np.full(len(y), self.arrays["offset"][a, m])
        scores = y @ self.arrays[f"bank.{asking}"].T
        if about["form"] == "csls":
            k = min(int(about["k"]), scores.shape[1])
            return np.sort(np.partition(scores, -k, axis=1)[:, -k:], axis=1).mean(1) / 2
        found = soft_mean(scores, about["beta"])
        if about["form"] == "dual":
            found = (found + soft_mean(y @ self.arrays[f"bank.{modality}"].T, about["beta"])) / 2
        return found

    def scores(self, queries: np.ndarray, keys: np.ndarray, query: str, active: np.ndarray | None = None) -> np.ndarray:
        """Scores (q, k) of rows that `transform` gave, `query` asking; they rank the keys of each query.

        An inner product, but for what looks twice: QB-Norm, and binary codes that are scored again. `active` (k,) is
        what `activated` says of these keys; give it where queries come in parts.
        """
        found = queries @ keys.T
        if self.bias.get("gated"):
            active = self.activated(keys, query) if active is None else active
            at = self.modalities.index(query) - len(self.modalities) - 1
            plain = found - np.outer(queries[:, at], keys[:, at])
            return np.where(active[plain.argmax(1)][:, None], found, plain)
        if self.codec.get("kind") != "binary":
            return found
        width = queries.shape[1]
        near = ((queries > 0).astype(np.float32) * 2 - 1) @ np.sign(keys).T / np.float32(width)
        if not self.codec["again"]:
            return near
        most = min(int(self.codec["again"]), near.shape[1])
        limit = np.partition(near, -most, axis=1)[:, -most][:, None]
        return np.where(near >= limit, found, near + FAR)

    def activated(self, keys: np.ndarray, query: str) -> np.ndarray:
        """Which keys are the nearest of some query of the bank, (k,): those whose hubness counts for QB-Norm."""
        bank = self.arrays[f"bank.{query}"]
        active = np.zeros(len(keys), dtype=bool)
        active[(bank @ keys[:, : bank.shape[1]].T).argmax(1)] = True
        return active

    # -- storage ---------------------------------------------------------------------------------------------------

    def encode(self, x: np.ndarray, modality: str) -> np.ndarray:
        """What is kept of rows (n, d): float32, int8, or bytes of two (int4) or eight (binary) dimensions each."""
        if not self.codec:
            raise ValueError(f"{self.name} stores vectors as they are: use transform")
        return self._by_parts(np.asarray(x), lambda part: self._encoded(self.moved(part, modality), modality))

    def decode(self, codes: np.ndarray, modality: str) -> np.ndarray:
        """The vectors (n, d) that codes stand for, of length one."""
        return unit(self._decoded(codes, modality))

    def _encoded(self, y: np.ndarray, modality: str) -> np.ndarray:
        kind = self.codec["kind"]
        if kind == "float32":
            return y
        if kind == "binary":
            return np.packbits(y > 0, axis=1)
        most = LEVELS[kind]
        codes = np.clip(np.rint(y / self.arrays[f"scale.{modality}"]), -most, most).astype(np.int8)
        if kind == "int8":
            return codes
        high = np.pad(codes + 8, ((0, 0), (0, codes.shape[1] % 2))).astype(np.uint8)
        return high[:, ::2] << 4 | high[:, 1::2]

    def _decoded(self, codes: np.ndarray, modality: str) -> np.ndarray:
        kind, width = self.codec["kind"], int(self.codec["width"])
        if kind == "float32":
            return codes
        if kind == "binary":
            return np.unpackbits(codes, axis=1)[:, :width].astype(np.float32) * 2 - 1
        if kind == "int4":
            both = np.stack([codes >> 4, codes & 15], 2).reshape(len(codes), -1)[:, :width]
            codes = both.astype(np.int8) - 8
        return codes.astype(np.float32) * self.arrays[f"scale.{modality}"]


# -- steps ---------------------------------------------------------------------------------------------------------


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of length one, float32; raises `ValueError` for one that is zero or not finite."""
    y = x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)
    square = np.einsum("ij,ij->i", y, y)
    if not ((square > TINY) & (square < HUGE)).all():  # out of the range of squares, or with no direction
        y = y.astype(np.float64)
        top = np.abs(y).max(1, keepdims=True)
        bad = ~(np.isfinite(top[:, 0]) & (top[:, 0] > 0))
        if bad.any():
            row = int(bad.argmax())
            raise NoDirectionError(row, "zero" if top[row, 0] == 0 else "not finite")
        y = y / top
        square = np.einsum("ij,ij->i", y, y)
    return (y * (1 / np.sqrt(square))[:, None].astype(y.dtype)).astype(np.float32, copy=False)


def soft_mean(scores: np.ndarray, beta: float) -> np.ndarray:
    """The mean of scores (n, b) over b that leans to the largest, log(mean exp(β s))/β: (n,)."""
    top = scores.max(1)
    return top + np.log(np.exp(beta * (scores - top[:, None])).mean(1)) / beta


def _affine(x: np.ndarray, a: Mapping[str, np.ndarray]) -> np.ndarray:
    y = x - a["before"]
    if "weight" in a:
        y = y * a["weight"] if a["weight"].ndim == 1 else y @ a["weight"]
    return y + a["after"] if "after" in a else y


def _residual(x: np.ndarray, a: Mapping[str, np.ndarray]) -> np.ndarray:
    return x + np.maximum(x @ a["into"] + a["plus"], 0) @ a["back"]


def _first(x: np.ndarray, a: Mapping[str, np.ndarray]) -> np.ndarray:
    return x[:, : len(a["count"])]


STEPS = {"affine": _affine, "residual": _residual, "first": _first}
