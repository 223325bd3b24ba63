"""What came of treating a space: the ranked list, what it comes to in a sentence, and the folder that is shipped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from workbench.diagnostics import intervals
from workbench.diagnostics.neighbours import hubness
from workbench.disk import finite, whole_folder, write_text
from workbench.errors import InputError, unknown
from workbench.treatments.base import BYTES, PLAIN, STORAGE
from workbench.treatments.goals import Goal, Judgement, paired
from workbench.treatments.portable import Treatment
from workbench.version import __version__

HUBS = hubness.__name__
ALPHA = 0.05
LEAST = 0.01  # a change below it is not worth a step in a service
TOGETHER = " + "  # between the names of two treatments that are one after the other
FILES = ("treatment.json", "treatment.safetensors")


@dataclass
class Candidate:
    """One treatment, fitted and judged: `change` of the goal's number, its interval, and Holm's `p`."""

    treatment: Treatment
    kind: str
    summary: str
    judgement: Judgement
    value: float
    change: float
    low: float
    high: float
    p: float
    p_costs: float  # that it costs LEAST or more
    seen: Mapping[str, float]
    bytes: int
    bytes_before: int
    seconds: float
    microseconds: float

    @property
    def name(self) -> str:
        """The name of its method."""
        return self.treatment.name

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that were chosen."""
        return dict(self.treatment.facts["settings"])

    @property
    def label(self) -> str:
        """Name and settings, as a person reads them."""
        if self.kind == STORAGE:
            return coded(self.treatment)
        parts = []
        for name in self.name.split(" + "):  # of two together the first one's settings bear its name
            mine = {k.removeprefix(f"{name}."): v for k, v in self.settings.items() if k.startswith(f"{name}.")}
            if not mine and name == self.name.split(" + ")[-1]:
                mine = {k: v for k, v in self.settings.items() if "." not in k}
            said = ", ".join(f"{k} {v:g}" for k, v in mine.items())
            parts.append(f"{name} ({said})" if said else name)
        return " + ".join(parts)

    @property
    def said_change(self) -> str:
        """The change with its interval."""
        return f"{self.change:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"

    @property
    def said_p(self) -> str:
        """Holm's p, as people read it."""
        return p_in_words(self.p)

    @property
    def helps(self) -> bool:
        """Whether it gains more than `LEAST`, beyond doubt."""
        return self.p <= ALPHA and self.change > LEAST

    @property
    def spares(self) -> bool:
        """Whether it is smaller than what it stands for, and costs less than `LEAST` beyond doubt."""
        return self.bytes < self.bytes_before and self.p_costs <= ALPHA


def p_in_words(p: float) -> str:
    """A p-value, not more exact than anybody reads it.

    >>> p_in_words(0.0123), p_in_words(1e-9)
    ('0.012', '<0.001')
    """
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def coded(t: Treatment) -> str:
    """How a codec is said: 256 int8, principal directions."""
    s, width = t.facts["settings"], t.codec["width"]
    again = f", first {s['again']} scored again" if s["again"] else ""
    which = (
        ""
        if width == next(iter(t.facts["modalities"].values()))["width"] and s["keep"] == "first"
        else WHICH[s["keep"]]
    )
    return f"{width} {s['kind']}{which}{again}"


WHICH = {"first": " (first)", "pca": " (principal)"}


@dataclass
class Treated:
    """The list of treatments for a goal, the best first; `left_out` says why a method was not tried.

    `winner`: the first that gains more than 0.01 with Holm's p of at most 0.05, for storage the smallest that costs
    less than 0.01 with that certainty; None where there is none.
    """

    goal: Goal
    before: Judgement
    candidates: list[Candidate]
    left_out: list[dict[str, Any]]
    about: dict[str, Any]
    seen: Mapping[str, float]

    def __repr__(self) -> str:
        return "\n".join(self.sentences)

    @property
    def shown(self) -> list[Candidate]:
        """The list, the best first; for storage what nothing smaller beats and what is recommended, largest first."""
        if self.goal.name != BYTES:
            return self.candidates
        best = [self.winner] if self.winner and self.winner not in self.front else []
        return sorted([*self.front, *best], key=lambda c: (-c.bytes, -c.value))

    @property
    def judged_on(self) -> str:
        """What was fitted and judged, in words."""
        a = self.about
        few = f", {a['queries']:,} queries a direction" if a["queries"] < a["judged"] else ""
        return f"fitted on {a['fitted']:,} items, judged on {a['judged']:,}{few} ({a['parts']})"

    @property
    def value(self) -> float:
        """The goal's number as it is."""
        return self.before.mean(self.goal.measure)

    @property
    def winner(self) -> Candidate | None:
        """What to ship."""
        if self.goal.name == BYTES:
            return min((c for c in self.candidates if c.spares), key=lambda c: (c.bytes, -c.change), default=None)
        best = next((c for c in self.candidates if c.helps), None)
        if best is not None and TOGETHER in best.name:  # a second step must pay for itself
            alone = next((c for c in self.candidates if c.helps and TOGETHER not in c.name), None)
            return alone if alone is not None and best.change - alone.change <= LEAST else best
        return best

    @property
    def cheaper(self) -> list[Candidate]:
        """What costs less to run than the winner, and loses against it less than `LEAST` beyond doubt."""
        best = self.winner
        if best is None or self.goal.name == BYTES:
            return []
        out = []
        for c in self.candidates:
            if c is best or not c.helps or c.microseconds > best.microseconds / 2:
                continue
            d, family = paired(best.judgement, c.judgement, self.goal.measure)
            if float(d.mean()) > -LEAST and intervals.p_of_no_mean(d + LEAST, family) <= ALPHA:
                out.append(c)
        return out

    @property
    def front(self) -> list[Candidate]:
        """The storage that nothing smaller beats: each finds more than all that take fewer bytes."""
        out: list[Candidate] = []
        for c in sorted(self.candidates, key=lambda c: (c.bytes, -c.value)):
            if not out or c.value > out[-1].value:
                out.append(c)
        return out

    @property
    def sentences(self) -> list[str]:
        """What was found, in words: the winner, what does as well for less, or that nothing helps."""
        best, unit = self.winner, self.goal.unit
        if self.goal.name == BYTES:
            if best is None:
                return [
                    f"Nothing smaller keeps {unit} within {LEAST} beyond doubt: {self.value:.3f} as it is.",
                    *self._near,
                ]
            return [self.spared(best)]
        if best is None:
            first = self.candidates[0] if self.candidates else None
            nearest = f"; the largest change is {first.said_change}, {first.label}" if first else ""
            return [f"Nothing helps by more than {LEAST} beyond doubt: {unit} is {self.value:.3f} as it is{nearest}."]
        p = "p < 0.001" if best.p < 0.001 else f"p = {best.p:.3f}"
        out = [f"{best.label}: {unit} {self.value:.3f} → {best.value:.3f}, {best.said_change}, {p}."]
        first = self.candidates[0]
        if first is not best and TOGETHER in first.name:
            more = first.change - best.change
            out.append(f"{first.label} gains {more:.3f} more, not worth a second step (less than {LEAST}).")
        if self.cheaper:
            c = min(self.cheaper, key=lambda c: c.microseconds)
            spent = f"{c.microseconds:.1f} µs a vector, not {best.microseconds:.1f}"
            out.append(f"{c.label} does as well within {LEAST} ({c.said_change}) and takes {spent}.")
        return out

    @property
    def _near(self) -> list[str]:
        """The smallest that its own interval would let pass, though not after so many tries."""
        near = [c for c in self.candidates if c.low > -LEAST and c.bytes < c.bytes_before]
        if not near:
            return []
        return [f"More items may decide: {self.spared(min(near, key=lambda c: c.bytes))}"]

    def spared(self, c: Candidate) -> str:
        """What a storage costs, and what it saves."""
        from_ = f"{next(iter(self.about['modalities'].values()))} float32"
        points = [-100 * x for x in (c.change, c.high, c.low)]
        if c.low <= 0 <= c.high or round(points[0], 1) == 0:
            change = f"{-points[0]:+.1f} points [{-points[2]:+.1f}, {-points[1]:+.1f}]"
            return (
                f"{from_} → {c.label} changes {self.goal.unit} by nothing that could be told, {change} "
                f"({self.value:.3f} as it is, among {self.about['judged']:,} items), and saves "
                f"{1 - c.bytes / c.bytes_before:.0%}."
            )
        word = "costs" if points[0] >= 0 else "gains"
        if points[0] < 0:
            points = [-points[0], -points[2], -points[1]]
        points = [round(x, 1) + 0.0 for x in points]
        return (
            f"{from_} → {c.label} {word} {points[0]:.1f} points [{points[1]:.1f}, {points[2]:.1f}] of {self.goal.unit} "
            f"({self.value:.3f} as it is, among {self.about['judged']:,} items) and saves "
            f"{1 - c.bytes / c.bytes_before:.0%}."
        )

    @property
    def table(self) -> pd.DataFrame:
        """A line a treatment, the best first."""
        lines = [{"name": PLAIN, "value": self.value, HUBS: self.before.hubness, **self.seen}]
        for c in self.candidates:
            line = {"name": c.name, "settings": c.settings, "kind": c.kind, "value": c.value, "change": c.change}
            line |= {"low": c.low, "high": c.high, "p": c.p, HUBS: c.judgement.hubness, **c.seen}
            line |= {"bytes": c.bytes, "microseconds": c.microseconds, "seconds_to_fit": c.seconds}
            for d, measures in c.judgement.values.items():
                line |= {f"{k} {' → '.join(d)}": float(v.mean()) for k, v in measures.items()}
            lines.append(line)
        for d, measures in self.before.values.items():
            lines[0] |= {f"{k} {' → '.join(d)}": float(v.mean()) for k, v in measures.items()}
        return pd.DataFrame(lines)

    def named(self, name: str) -> Candidate:
        """The candidate of this name, as the list prints it with its settings or without."""
        for c in self.candidates:
            if name in (c.name, c.label):
                return c
        raise unknown("treatment here", name, [c.label for c in self.candidates])

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        frame = self.table.astype(object).where(self.table.notna(), None)
        told = {"goal": self.goal.name, "measure": self.goal.measure, "sentences": self.sentences, "about": self.about}
        return finite(told | {"treatments": frame.to_dict("records"), "left_out": self.left_out})

    def save(self, folder: str | os.PathLike[str], name: str = "") -> Path:
        """Write the winner, or the treatment of this name, as a folder that `Treatment.load` and `apply` read.

        Raises `InputError` where nothing helps and no name is given, or where the folder holds something else.
        """
        chosen = self.named(name) if name else self.winner
        if chosen is None:
            raise InputError(f"{self.sentences[0]} To ship one all the same, name it: --choose NAME")
        facts = {"measure": self.goal.measure, "before": self.value, "after": chosen.value}
        facts |= {"change": chosen.change, "low": chosen.low, "high": chosen.high, "p": chosen.p}
        told = {"judged": facts | {"goal": self.goal.name}, "fitted_on": self.about, "workbench": __version__}
        return save(Treatment(chosen.treatment.facts | finite(told), chosen.treatment.arrays), Path(folder))


def save(t: Treatment, folder: Path) -> Path:
    """Write a treatment whole or not at all; a folder that is something else is left alone."""
    import numpy as np
    from safetensors.numpy import save_file

    folder = folder.absolute()
    if folder.exists() and not (folder.is_dir() and (not any(folder.iterdir()) or (folder / FILES[0]).exists())):
        raise InputError(f"{folder}: is there and is no treatment; choose another folder")
    with whole_folder(folder) as staging:
        write_text(staging / FILES[0], json.dumps(t.facts, indent=1, ensure_ascii=False) + "\n")
        save_file({k: np.ascontiguousarray(x) for k, x in t.arrays.items()}, staging / FILES[1])
        (staging / FILES[1]).chmod(0o644)
    return folder
