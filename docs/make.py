"""Execute the notebooks of the gallery on the emoji set and take their pictures; `make docs` then builds the site."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import workbench as wb
from workbench.batch import batch
from workbench.batch.notebooks import folder, headless

HERE = Path(__file__).parent
GALLERY = HERE / "gallery"
STEPS = 200


def picture(page: Path, out: Path) -> None:
    """The top of a page as people see it."""
    headless(page, "--hide-scrollbars", "--window-size=1100,760", f"--screenshot={out}").check_returncode()


def main() -> None:
    shutil.rmtree(GALLERY, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        runs = Path(scratch)
        two = ["text", "color"]
        for name, recipe, settings in (
            ("infonce", "infonce", {}),
            ("infonce-seed1", "infonce", {"seed": 1}),
            ("siglip", "siglip", {}),
        ):
            wb.train(recipe, data="emoji", modalities=two, out=runs / name, steps=STEPS, **settings)
        pages = {
            "report": {"data": str(runs / "infonce"), "title": "InfoNCE on emoji: text and drawings"},
            "compare": {
                "a": str(runs / "infonce"),
                "b": str(runs / "siglip"),
                "seeds": [str(runs / "infonce-seed1")],
                "by": "group",
            },
            "explore": {"data": str(runs / "infonce"), "view": "gap axis"},
            "train": {"recipe": "vicreg", "modalities": two, "steps": STEPS, "out": str(runs / "vicreg")},
            "sweep": {
                "temperatures": [0.02, 0.07, 0.3],
                "batches": [64, 512],
                "steps": 100,
                "seeds": 1,
                "out": str(runs / "sweep"),
            },
        }
        for name, given in pages.items():
            found = batch(folder() / f"{name}.ipynb", GALLERY, given=given)
            for e in found.failed:
                raise SystemExit(f"{e.label}: {e.error}")
            picture(GALLERY / f"{name}.html", GALLERY / f"{name}.png")
    for rest in ("manifest", "running"):
        shutil.rmtree(GALLERY / rest, ignore_errors=True)
    for file in [*GALLERY.glob("*.log"), *GALLERY.glob("*.ipynb"), *GALLERY.glob("*.json"), GALLERY / ".lock"]:
        file.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
