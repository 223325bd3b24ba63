"""What is looked at: embeddings, the report on them, the items' names and pictures; read once, shared by every view."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workbench.diagnostics.retrieval import median_rank
from workbench.diagnostics.scoped_name import ScopedName
from workbench.disk import write_text
from workbench.errors import InputError, unknown
from workbench.explorer import views
from workbench.report.report import Report
from workbench.sets import columns
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.projection import LINEAR_VIEWS, Projection, cached, project
from workbench.sets.run_folder import VERDICTS, is_run
from workbench.sets.shipped import load_data, with_splits
from workbench.training.run import Run

T = TypeVar("T")
RANK = median_rank.__name__  # whose values an item are the ranks of the matches
SHOWN = 5  # keys beside a match
SPLITS = ("validation", "train", "test")  # of a run, as they may be looked at; each look at test is counted
MANY, SOME = 20_000, 1_500  # items from which the first view is chosen, by so many of them
HUB = 10  # a hub is among the ten nearest of many queries


@dataclass(frozen=True)
class QueryResult:
    """One query and its match in another modality: who ranks before it, and whom the match beats elsewhere."""

    item: int
    query: str
    key: str
    rank: float
    back: float  # the rank of the query's item when the match asks
    margin: float  # cosine of the match minus that of the best non-match
    hub: int  # queries that have the match among their ten nearest
    nearest: pd.DataFrame  # id, name, cosine, item: the five keys nearest to the query
    beats: pd.DataFrame  # the queries of other items that the match is nearest to


class Inspection:
    """A set with everything that views ask of it. Slow parts are made once, when first asked for."""

    def __init__(
        self,
        es: EmbeddingSet,
        *,
        name: str = "set",
        items: pd.DataFrame | None = None,
        run: Run | None = None,
        split: str = "",
        home: Path | None = None,
        encoders: Mapping[str, str] | None = None,
    ) -> None:
        self.es = es.layer()
        self.layered = es if es.layers else None
        self.name, self.run, self.split, self.home = name, run, split, home
        items = (es.items if items is None else items).reset_index(drop=True)
        self.items = items if "name" in items else items.assign(name=items["id"])
        self.encoders = dict(es.encoders if encoders is None else encoders)  # of a run: before its towers
        self.other: Inspection | None = None  # another space of the same items in the same order
        self.hues: dict[str, dict[str, str]] = {}  # colours that values of a column have by their meaning
        self._report: Report | None = None
        self._maps: dict[str, Projection] = {}
        self._units: dict[str, Tensor] = {}
        self._ranks: dict[tuple[str, str], np.ndarray] = {}
        self._known: dict[Any, Any] = {}
        self._lock = Lock()
        self._places = pd.Series(np.arange(len(self.es)), index=self.es.items["id"].astype(str))

    # -- what is known of the set ----------------------------------------------------------------------------------

    @property
    def diagnosed(self) -> bool:
        """Whether the report is there already, so that asking for it takes no time."""
        return self._report is not None

    @property
    def report(self) -> Report:
        """The report: the run's saved one, else made now."""
        with self._lock:
            if self._report is None:
                from workbench.report.diagnose import diagnose

                self._report = self.run.report(self.split) if self.run else diagnose(self.es)
            return self._report

    @property
    def whole(self) -> EmbeddingSet:
        """The set with the columns that are shown, some of which a run's snapshot lacks."""
        return self.es.with_items(self.items)

    @property
    def views(self) -> list[str]:
        """The names of its views."""
        return views.names(self.es.modalities)

    def view(self, name: str) -> Projection:
        """The projection of one of its `views`, made once."""
        method, pair = views.method(name, self.es.modalities)
        with self._lock:
            if name not in self._maps:
                self._maps[name] = project(self.es, method, pair)
            return self._maps[name]

    @property
    def first_view(self) -> str:
        """What a map shows first: the gap; of many items the linear view that keeps most of their neighbourhoods."""
        linear = [v for v in self.views if views.method(v, self.es.modalities)[0] in LINEAR_VIEWS]
        if len(self.es) < MANY or not linear:
            return self.views[0]

        def judged() -> str:
            at = np.random.default_rng(5).permutation(len(self.es))[:SOME]
            some = self.es.take(np.sort(at))
            kept = {v: project(some, *views.method(v, some.modalities)) for v in linear}
            return max(linear, key=lambda v: (kept[v].trustworthiness, kept[v].faithfulness))

        return self.once("first view", judged)

    def has_view(self, name: str) -> bool:
        """Whether a view is there at once."""
        return name in self._maps or cached(self.es, views.method(name, self.es.modalities)[0])

    @property
    def directions(self) -> list[tuple[str, str]]:
        """Ordered pairs of modalities of one width: those with ranks."""
        width = {m: self.es[m].shape[-1] for m in self.es.modalities}
        return [(a, b) for a in width for b in width if a != b and width[a] == width[b]]

    def unit(self, m: str) -> Tensor:
        """Unit rows of a modality in float32, scaled once."""
        if m not in self._units:
            self._units[m] = self.es.unit(m, dtype=torch.float32)
        return self._units[m]

    def ranks(self, a: str, b: str) -> np.ndarray:
        """The rank of each item's match (N,), as the report has it; NaN where it was not among the sampled queries."""
        if (a, b) not in self._ranks:
            from workbench.report.diagnose import diagnose

            column = ScopedName(RANK, (a, b)).column
            pair = self.es.only([m for m in self.es.modalities if m in (a, b)])
            known = (self._report or diagnose(pair, only=[RANK])).items
            out = np.full(len(self.es), np.nan)
            if column in known:
                out[self.places(known["id"])] = known[column].to_numpy()
            self._ranks[a, b] = out
        return self._ranks[a, b]

    def worst(self, count: int = 20, direction: tuple[str, str] | None = None) -> np.ndarray:
        """The items whose match ranks worst in a direction, by default the first; worst first."""
        if not self.directions:
            return np.arange(0)
        direction = direction or self.directions[0]
        return self.worst_first(np.flatnonzero(np.isfinite(self.ranks(*direction))), direction)[:count]

    def worst_first(self, items: np.ndarray, direction: tuple[str, str] | None = None) -> np.ndarray:
        """Items ordered by the rank of their match, worst first; those whose rank is not known come last."""
        if not self.directions or not len(items):
            return items
        rank = self.ranks(*(direction or self.directions[0]))[items]
        return items[np.argsort(-np.nan_to_num(rank, nan=-1), kind="stable")]

    def places(self, ids: Any) -> np.ndarray:
        """The positions of items by id; the first unknown id is named."""
        found = self._places.reindex(pd.Index([str(i) for i in ids]))
        if found.isna().any():
            raise InputError(f"{self.name}: no item with id {found.index[found.isna()][0]!r}")
        return found.to_numpy().astype(int)

    def find(self, text: str) -> np.ndarray:
        """Items with a word that begins with a text, else those that contain it; (N,) bool, whatever the case."""
        hits = self._hits(text)
        return np.logical_or.reduce(list(hits.values())) if hits else np.zeros(len(self.es), dtype=bool)

    def found_in(self, text: str) -> list[str]:
        """The columns in which `find` finds a text."""
        return list(self._hits(text))

    def _hits(self, text: str) -> dict[str, np.ndarray]:
        words = {
            c: pd.Series(columns.text(self.items[c])) for c in self.items if not columns.holds_bytes(self.items[c])
        }
        for pattern in (rf"(?<!\w){re.escape(text)}", re.escape(text)):
            found = {
                str(c): x.str.contains(pattern, case=False, regex=True, na=False).to_numpy() for c, x in words.items()
            }
            if found := {c: hit for c, hit in found.items() if hit.any()}:
                return found
        return {}

    def near(self, item: int, modality: str, count: int = 50) -> np.ndarray:
        """The items nearest to one, by its vector in a modality."""
        rows = (self.es.item_of_row(modality) == item).nonzero()[:, 0]
        if not len(rows):
            return np.arange(0)
        cosine = (self.unit(modality) @ self.unit(modality)[rows].mean(0)).topk(min(count, len(self.unit(modality))))
        return np.unique(self.es.item_of_row(modality)[cosine.indices].numpy())

    def once(self, what: Any, make: Callable[[], T]) -> T:
        """What `make` gives, worked out when it is first asked for by this name."""
        if what not in self._known:
            self._known[what] = make()
        return self._known[what]

    # -- one pair --------------------------------------------------------------------------------------------------

    def query_result(self, item: int, query: str, key: str) -> QueryResult | None:
        """An item's query in one modality among the keys of another; nothing where the item lacks either."""
        q, k = self.unit(query), self.unit(key)
        of_q, of_k = self.es.item_of_row(query), self.es.item_of_row(key)
        asked, match = (of_q == item).nonzero()[:, 0], (of_k == item).nonzero()[:, 0]
        if not len(asked) or not len(match):
            return None
        cosine, back = k @ q[asked[0]], q @ k[match[0]]
        own = cosine[match].max()
        non_matches = of_k != item
        top = torch.topk(cosine, min(SHOWN, len(cosine)))
        # queries whose nearest key is this match, among a bounded number of rows
        look = torch.arange(len(q)) if len(q) * len(k) <= 4e8 else torch.topk(back, min(500, len(back))).indices
        best, hub = torch.zeros(0, dtype=torch.long), 0
        for part in look.split(max(1, int(4e7 // len(k)))):
            near = (q[part] @ k.T).topk(min(HUB, len(k)), dim=1)
            hit = torch.isin(near.indices, match)
            hub += int(hit.any(1).sum())
            best = torch.cat([best, part[hit[:, 0] & (of_q[part] != item)]])
        best = best[back[best].argsort(descending=True)][:SHOWN]
        return QueryResult(
            item,
            query,
            key,
            _rank(cosine, own, non_matches),
            _rank(back, back[asked].max(), of_q != item),
            float(own - cosine[non_matches].max()) if bool(non_matches.any()) else float("nan"),
            hub,
            self._named(of_k[top.indices], top.values),
            self._named(of_q[best], back[best]),
        )

    def _named(self, at: Tensor, cosine: Tensor) -> pd.DataFrame:
        rows = self.items.iloc[at.numpy()]
        return rows.assign(cosine=cosine.numpy(), item=at.numpy())

    # -- what people leave behind ----------------------------------------------------------------------------------

    def _folder(self, name: str) -> Path:
        if self.home is None:
            raise InputError("this set is in memory only: save it (es.save), or open a run, to keep anything with it")
        folder = self.home / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def save_selection(self, name: str, ids: Sequence[str], **about: Any) -> Path:
        """Keep a selection by name beside the set or in the run."""
        if not re.fullmatch(r"[\w][\w .\-]{0,60}", name):
            raise InputError(f"{name!r}: name a selection with letters, digits, space, dot, dash, at most 61 of them")
        file = self._folder("selections") / f"{name}.json"
        content = {"name": name, "fingerprint": self.es.fingerprint, "ids": [str(i) for i in ids], **about}
        write_text(file, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
        return file

    @property
    def selections(self) -> dict[str, list[str]]:
        """The saved selections: ids by name."""
        if self.home is None or not (self.home / "selections").is_dir():
            return {}
        out = {}
        for file in sorted((self.home / "selections").glob("*.json")):
            try:
                out[file.stem] = [str(i) for i in json.loads(file.read_text())["ids"]]
            except (ValueError, KeyError, TypeError):
                continue
        return out

    @cached_property
    def trainable(self) -> np.ndarray:
        """Items that a training on this set would learn from, (N,) bool; of a run, those of its train split."""
        if self.run is not None:
            return np.full(len(self.es), self.split == "train")
        return (with_splits(self.es).items["split"] == "train").to_numpy()

    @property
    def usable(self) -> pd.DataFrame:
        """The judged pairs that `workbench train --set pairs=…` can use: both of their items are learnt from."""
        known, learnt = self.judgements, set(self.es.items["id"].astype(str)[self.trainable])
        return known[known["id"].isin(learnt) & known["other"].isin(learnt)]

    def unjudge(self, item: int, other: int | None = None) -> None:
        """Take back what was said of an item, or of it and another alone."""
        known, ids = self.judgements, self.es.items["id"].astype(str)
        mine = known["id"] == ids.iloc[item]
        if other is not None:
            mine &= known["other"] == ids.iloc[other]
        write_text(self._folder("judgements") / "pairs.csv", known[~mine].to_csv(index=False))

    def judge(self, item: int, other: int, verdict: str, query: str, key: str) -> Path:
        """Write down what a stolen match is; `workbench train` takes the file, of which it uses what is `usable`."""
        if verdict not in VERDICTS:
            raise InputError(f"a verdict is one of {', '.join(VERDICTS)}, not {verdict!r}")
        file = self._folder("judgements") / "pairs.csv"
        ids = self.es.items["id"].astype(str)
        row = {"id": ids.iloc[item], "other": ids.iloc[other], "verdict": verdict, "query": query, "key": key}
        known = self.judgements
        same = (known["id"] == row["id"]) & (known["other"] == row["other"])
        frame = pd.concat([known[~same], pd.DataFrame([row])], ignore_index=True)
        write_text(file, frame.to_csv(index=False))
        return file

    @property
    def judgements(self) -> pd.DataFrame:
        """What people judged so far: columns id, other, verdict, query, key."""
        file = None if self.home is None else self.home / "judgements" / "pairs.csv"
        if file is None or not file.exists():
            return pd.DataFrame(columns=["id", "other", "verdict", "query", "key"], dtype=str)
        return pd.read_csv(file, dtype=str, keep_default_na=False)


def _rank(cosine: Tensor, own: Tensor, non_matches: Tensor) -> float:
    others = cosine[non_matches]
    return 1 + float((others > own).sum()) + float((others == own).sum()) / 2


def first_rows(rows: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The first row of each item in ascending row owners, −1 where it has none."""
    at = np.searchsorted(rows, items)
    there = (at < len(rows)) & (rows[np.minimum(at, len(rows) - 1)] == items)
    return np.where(there, at, -1)


def inspection(source: Any, split: str = "validation") -> Inspection:
    """An inspection of a run (its probe, or the test split where that is asked for), of a set, a path or arrays."""
    if isinstance(source, str | Path) and is_run(source):
        source = Run(source)
    if isinstance(source, Run):
        run = source
        if split not in SPLITS:
            raise unknown("split to look at", split, SPLITS)
        es = run.snapshot() if split == "validation" else run.embed(split)
        data = run.data
        everything = data.items.set_index("id", drop=False)
        known = es.items["id"].isin(everything.index).all()
        items = everything.loc[es.items["id"]] if known else es.items
        return Inspection(es, name=run.name, items=items, run=run, split=split, home=run.path, encoders=data.encoders)
    es = load_data(source)
    path = Path(source) if isinstance(source, str | Path) else None
    home = None
    if path is not None and path.exists():  # what people leave behind stands in a set of ours, else beside the files
        home = path if (path / "manifest.json").exists() else path.parent / ".workbench" / path.name
    return Inspection(es, name=path.name if path is not None else "set", home=home)


def selected(source: Any, name: str) -> EmbeddingSet:
    """The items of a selection that was saved by name in a run or beside a set."""
    s = inspection(source)
    if name not in s.selections:
        raise unknown("selection", name, s.selections)
    return s.es.take(s.places(s.selections[name]))
