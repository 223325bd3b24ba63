"""The demo: the main job walked once, on the emoji set."""

from __future__ import annotations

import shutil
from pathlib import Path

from workbench.diagnostics.registry import headlines
from workbench.disk import write_text
from workbench.report.finding import MARKS
from workbench.sets.run_folder import is_run

MODALITIES = ("text", "color", "sketch")  # the first is GRAM's anchor
RECIPES = ("infonce", "gram")


def demo(out: Path, *, steps: int) -> None:
    """Train both recipes on the same split, diagnose the test items once, report, compare."""
    import workbench as wb
    from workbench.batch import notebooks
    from workbench.progress import progress
    from workbench.views.comparison_page import compare_page

    es = wb.dataset("emoji")
    print(f"emoji   {len(es):,} concepts · {', '.join(MODALITIES)} · train / validation / test split by family\n")
    runs = []
    for name in RECIPES:
        folder = out / f"emoji-{name}"
        if is_run(folder):
            shutil.rmtree(folder)  # the demo owns the runs it makes
        runs.append(wb.train(name, data="emoji", out=folder, modalities=MODALITIES, steps=steps))
    reports = {run.name: run.report("test") for run in runs}
    pages = [
        notebooks.execute(
            notebooks.folder() / "report.ipynb",
            run.path / "reports" / "test.ipynb",
            {"data": str(run.path.absolute()), "split": "test", "title": f"{run.name} on the test split"},
        )
        for run in progress(runs, "report notebooks", len(runs))
    ]
    comparison = out / "comparison.html"
    found = wb.compare(*runs)  # by the validation items, as the dashboard shows them
    write_text(
        comparison,
        compare_page(
            found, {r.name: r.report("validation") for r in runs}, {r.name: r.metrics for r in runs}, runs[0].items
        ),
    )

    _table(reports)
    for name, report in reports.items():
        print(f"\n{name}")
        for f in report.findings:
            print(f"  {MARKS[f.severity]}  {f.sentence}")
    print("\nreports")
    for page in [*pages, comparison]:
        print(f"  {page}")
    print(f"\nopen the dashboard:  .venv/bin/workbench serve {out}")


def _table(reports: dict) -> None:
    """The results side by side, on the test split."""
    from workbench.views.document import number
    from workbench.views.figures import scope

    first = next(iter(reports.values()))
    width = max(len(n) for n in reports) + 16
    print(f"{'test split':<20}{'':<24}" + "".join(f"{n:<{width}}" for n in reports) + "null (of the first)")
    for row in first.frame[first.frame["name"].isin(headlines())].to_dict("records"):
        cells = ""
        for report in reports.values():
            r = report.row(row["name"], *row["modalities"])
            ends = f" [{number(r['low'])}, {number(r['high'])}]" if r["low"] == r["low"] else ""
            cells += f"{number(r['value']) + ends:<{width}}"
        print(f"{row['name']:<20}{scope(row):<24}{cells}{number(row['null_low'])} … {number(row['null_high'])}")
