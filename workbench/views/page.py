"""Pages: reports and comparisons as one HTML file each; plotly.js embedded once, no network, everything escaped."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from workbench.diagnostics.neighbours import taken_by
from workbench.diagnostics.registry import Curve, Diagnostic, curves, diagnostics, headlines, leading, questions
from workbench.diagnostics.retrieval import median_rank
from workbench.diagnostics.scoped_name import ScopedName
from workbench.report.finding import MARKS, Finding, verdict
from workbench.report.report import Report
from workbench.sets.embeddings import EmbeddingSet
from workbench.sets.shipped import ATTRIBUTION
from workbench.views import figures
from workbench.views.document import band, drawn, number, page

WORST = 10  # items shown with their drawings
# the worst items are those whose match ranks last, and who took its place
RANK, TAKEN = median_rank.__name__, taken_by.__name__


def interval(row: Mapping[str, Any]) -> str:
    """The interval of a row, or a dash."""
    return f"{number(row['low'])} … {number(row['high'])}" if math.isfinite(row["low"]) else "–"


def null(row: Mapping[str, Any]) -> str:
    """The null of a row, or a dash."""
    return band(row) or "–"


def findings(report: Report) -> str:
    """The doctor's sentences of a report."""
    return sentences(report.findings)


def sentences(found: Sequence[Finding]) -> str:
    """The doctor's sentences, each with what to try next."""
    lines = []
    for f in found:
        then = f' <span class="next">{escape(f.next)}.</span>' if f.next else ""
        mark = f'<span class="mark" title="{f.severity}">{MARKS[f.severity]}</span>'
        lines.append(f'<li class="{f.severity}">{mark}{escape(f.sentence)}{then}</li>')
    return f'<ul class="findings">{"".join(lines)}</ul>'


def table(rows: Sequence[Mapping[str, Any]], *, words: bool = False) -> str:
    """Values with interval, null, n; reasons where there is no value. `words`: names as people say them."""
    body = []
    for r in rows:
        n = f"{r['n_query']:,} of {r['n_gallery']:,}" + ("" if r["exact"] else " (sampled)")
        if r["reason"] is not None and r["reason"] == r["reason"]:
            cells = f'<td colspan="4" class="caption">{escape(r["reason"])}</td>'
        else:
            cells = (
                f'<td class="n">{number(r["value"])}</td><td class="n">{interval(r)}</td><td class="n">{null(r)}</td>'
                f'<td class="n">{n}</td>'
            )
        name = escape(r["name"].replace("_", " ")) if words else f"<code>{escape(r['name'])}</code>"
        body.append(f"<tr><td>{name}</td><td>{escape(figures.scope(r))}</td>{cells}</tr>")
    head = "<tr><th>diagnostic</th><th>of</th><th class=n>value</th><th class=n>95 % interval</th><th class=n>null</th><th class=n>n</th></tr>"
    return f'<div class="wide"><table>{head}{"".join(body)}</table></div>'


def about(report: Report) -> str:
    """What was run, as a table."""
    a = report.about
    parts = [
        ("data", a["source"]),
        ("fingerprint", a["fingerprint"]),
        ("items", f"{a['items']:,} in {a['families']:,} families"),
    ]
    parts += [("modalities", ", ".join(f"{m} {v['rows']:,}×{v['dimensions']}" for m, v in a["modalities"].items()))]
    parts += [("paired by", a["pairing"])]
    for key, said in (
        ("run", "run"),
        ("recipe", "recipe"),
        ("steps", "steps"),
        ("seed", "seed"),
        ("split_read", "split"),
    ):
        if a.get(key) is not None:
            parts.append((said, str(a[key])))
    if a.get("split_read") == "test":
        parts.append(("test split read", f"{a['test_reads']} time(s)"))
    parts += [("versions", ", ".join(f"{k} {v}" for k, v in a["versions"].items()))]
    parts += [("machine", f"{a['machine']}, {a['device']}"), ("when", a["when"])]
    rows = "".join(f"<tr><th>{escape(k)}</th><td><code>{escape(str(v))}</code></td></tr>" for k, v in parts)
    return f"<table>{rows}</table>"


def see(shown: Diagnostic | Curve) -> str:
    """What to see in a figure, as its caption."""
    return f'<p class="caption">{escape(shown.see)}</p>'


def map_of(es: EmbeddingSet, method: str = "pca") -> str:
    """A map of a set with what may be read off it."""
    from workbench.sets.projection import project

    text = es.items["name"] if "name" in es.items else es.items["id"]
    fig = figures.scatter(project(es, method), list(text))
    return (
        drawn(fig)
        + '<p class="caption">Shape and hue: modality. A map of two axes keeps only the share of neighbours printed in its corner: never read a gap off it.</p>'
    )


def worst(report: Report, items: Any = None, shown: int = WORST) -> str:
    """The items whose match ranks worst, in the first direction, with their drawing where there is one."""
    ranks = ScopedName.of(report.items, RANK)
    if not ranks:
        return ""
    measure, column = next(iter(ranks.items()))
    ranked = report.items.dropna(subset=[column]).nlargest(shown, column)
    by_id = items.set_index(items["id"].astype(str)) if items is not None else None
    cards, drawings = [], False
    thieves = _thieves(report, measure.scope, by_id)
    for row in ranked.to_dict("records"):
        shown_, name = "", row["id"]
        if by_id is not None and row["id"] in by_id.index:
            item = by_id.loc[row["id"]]
            name = item.get("name", name)
            shown_ = picture(item.to_dict())
            drawings = drawings or bool(shown_ and "color_png" in item)
        cards.append(
            f'<div class="card">{shown_}{escape(str(name))}<br><span class="num">rank {row[column]:,.0f}</span>'
            f"{thieves.get(row['id'], '')}</div>"
        )
    credit = f'<p class="caption">{escape(ATTRIBUTION)}</p>' if drawings else ""
    direction = escape(measure.arrow)
    return f'<h2>Worst items</h2><p class="caption">{direction}: the items whose own match ranks last.</p><div class="cards">{"".join(cards)}</div>{credit}'


def picture(item: Mapping[Any, Any]) -> str:
    """An item's drawing, where it has one."""
    columns = sorted(str(c) for c in item if str(c).endswith("_png"))
    raw = next((item[c] for c in columns if isinstance(item[c], bytes) and item[c][:4] == b"\x89PNG"), None)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(raw).decode()}"><br>' if raw else ""


def _thieves(report: Report, direction: tuple[str, ...], by_id: Any) -> dict[str, str]:
    """By item: a line that says whose key came first in its place."""
    taken = report.arrays.get((TAKEN, direction))
    if taken is None:
        return {}
    ids = report.items["id"].to_numpy()
    lines = {}
    for item, nearest, lost in zip(taken["item"], taken["nearest"], taken["taken"], strict=True):
        if lost and nearest >= 0:
            name = ids[nearest]
            if by_id is not None and name in by_id.index:
                name = by_id.loc[name].get("name", name)
            lines[ids[item]] = f'<br><span class="caption">taken by {escape(str(name))}</span>'
    return lines


def report_body(report: Report, items: Any = None) -> str:
    """Everything of a report below its heading: findings, the headline numbers, what carries a finding; the rest folded."""
    parts = [verdicts(report), *(evidence(report, name) for name in carried(report))]
    return "".join([*parts, worst(report, items), folded(report)])


def verdicts(report: Report) -> str:
    """The findings, and the numbers that matter."""
    return f"<h2>Findings</h2>{findings(report)}<h2>Headline numbers</h2>{headline_table(report)}"


def carried(report: Report) -> list[str]:
    """The questions whose diagnostics a finding stands on, in the order in which a report asks them."""
    stood_on = {e["diagnostic"] for f in report.findings for e in f.evidence}
    asked = {diagnostics()[n].question for n in stood_on if n in diagnostics()}
    return [name for name in questions() if name in asked]


def folded(report: Report) -> str:
    """What is there to be looked up: every number, what each means, and what was run."""
    rest = "".join(every_value(report, name) for name in questions())
    numbers = f"<details><summary>Every number, by question</summary>{rest}</details>"
    return f"{numbers}{definitions(report)}<details><summary>What was run</summary>{about(report)}</details>"


def headline_table(report: Report) -> str:
    """The eight numbers that matter, where the report has them."""
    rows = [r for r in report.frame.to_dict("records") if r["name"] in set(headlines()) and math.isfinite(r["value"])]
    order = {n: k for k, n in enumerate(headlines())}
    return table(sorted(rows, key=lambda r: order[r["name"]]), words=True)


def evidence(report: Report, name: str) -> str:
    """A question that a finding stands on: its leading figures and curves with what to see."""
    asked = questions()[name]
    rows = {r["name"] for r in report.frame.to_dict("records") if math.isfinite(r["value"])}
    parts = []
    for d in leading(name):
        if d.name in rows:
            parts += [drawn(figures.values({"": report}, d.name)), see(d)]
    for curve in curves().values():
        draw = figures.CURVES.get(curve.name)
        if curve.question == name and draw and any(n == curve.name for n, _ in report.arrays):
            parts += [drawn(draw(report)), see(curve)]
    return "".join([f"<h2>{escape(asked.text)}</h2>", *parts]) if parts else ""


def every_value(report: Report, name: str) -> str:
    """All values of a question, and why where there is none."""
    known = diagnostics()
    rows = [r for r in report.frame.to_dict("records") if known[r["name"]].question == name]
    said = [r for r in rows if r["reason"] is None or r["reason"] != r["reason"]]
    why = sorted({f"{r['name']}: {r['reason']}" for r in rows if isinstance(r["reason"], str)})
    none = f'<p class="caption">{escape("; ".join(why))}</p>' if why else ""
    return f"<h3>{escape(questions()[name].text)}</h3>{table(said) if said else ''}{none}" if rows else ""


def heading(report: Report, title: str = "", *, sample: bool = True) -> str:
    """Title, the verdict with the first sentence, and what was looked at; items that were picked have no verdict."""
    a = report.about
    title = (
        title or f"{a.get('run') or Path(str(a['source'])).name}: {a['items']:,} items, {', '.join(a['modalities'])}"
    )
    lead = report.findings[0].sentence if report.findings else ""
    word = verdict(report.findings).capitalize()
    split = f" of the {escape(str(a['split_read']))} split" if a.get("split_read") else ""
    what = f"{a['items']:,} items{split} · data <code>{escape(a['fingerprint'])}</code>"
    said = f"<b>{word}.</b> {escape(lead)}" if sample else "Items that were picked are no sample: nothing is diagnosed."
    return f'<h1>{escape(title)}</h1><p class="lead">{said}</p><p class="caption">{what}</p>'


def training(run: Any) -> str:
    """What changed in training, where there was one."""
    said = '<p class="caption">On the validation split at each look; where a diagnostic has several scopes, their mean.</p>'
    figure = drawn(figures.metrics({run.name: run.metrics}))
    return f"<h2>What changed in training?</h2>{sentences(run.findings)}{figure}{said}"


def definitions(report: Report) -> str:
    """What each diagnostic of the report measures, its formulas as MathML."""
    import inspect

    known = diagnostics()
    parts = []
    for name in dict.fromkeys(report.frame["name"]):
        text = (inspect.getdoc(known[name].function) or "").split(">>>")[0].strip()
        paragraphs = "".join(f"<p>{mathml(p)}</p>" for p in text.split("\n\n"))
        parts.append(f"<details><summary><code>{escape(name)}</code></summary>{paragraphs}</details>")
    return f'<details class="defined"><summary>Definitions of all {len(parts)} diagnostics</summary>{"".join(parts)}</details>'


def mathml(text: str) -> str:
    """Escaped prose with its $…$ and $$…$$ turned into MathML, which browsers draw without help."""
    from latex2mathml.converter import convert

    parts = re.split(r"(\$\$.+?\$\$|\$.+?\$)", text, flags=re.S)
    return "".join(
        convert(p.strip("$").strip(), display="block" if p.startswith("$$") else "inline")
        if p.startswith("$") and len(p) > 2
        else escape(p)
        for p in parts
    )


def report_page(report: Report, items: Any = None) -> str:
    """A report as one page that opens from a file."""
    a = report.about
    return page(str(a.get("run") or a["source"]), heading(report) + report_body(report, items))


def sweep_page(frame: Any) -> str:
    """How recipes moved the space: a figure a quantity with intervals over seeds, and every number."""
    seeds = int(frame["seeds"].min())
    parts = ["<h1>How recipes move the space</h1>"]
    parts += [
        f'<p class="lead">From the first look at the validation items to the last, mean and 95 % t-interval over {seeds} '
        "seeds. The same data, towers and steps for all; losses, and so the sense of a learning rate, differ.</p>"
    ]
    for name in frame["name"].unique():
        rows = frame[frame["name"] == name]
        parts += [f"<h2>{escape(name)}</h2>", drawn(figures.changes(rows, name))]
    head = "".join(f"<th>{escape(c)}</th>" for c in frame.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{number(v) if isinstance(v, float) else escape(str(v))}</td>" for v in r) + "</tr>"
        for r in frame.itertuples(index=False)
    )
    parts += [f'<h2>Every number</h2><div class="wide"><table><tr>{head}</tr>{body}</table></div>']
    return page("How recipes move the space", "".join(parts))
