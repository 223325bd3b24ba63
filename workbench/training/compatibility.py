"""Which recipes fit the data at hand, and what the others would need."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.objectives.recipes import RECIPES, RecipeSpec
from workbench.sets.embeddings import EmbeddingSet

# what a batch field means for somebody who has data
NEEDED = {
    "negatives": "hard negatives: several wrong captions written for each item",
    "tokens": "tokens or regions of each item, not one vector",
    "labels": "a column of labels (train.label)",
    "roles": "three rows of one prompt: safe, unsafe, jailbreak",
    "target": "a column that says target or background, and rows with two halves",
    "teacher of the same width": "another model's vectors of the towers' own width",
}


def lacking(entry: RecipeSpec, modalities: Sequence[str], label: str = "") -> str:
    """What these data lack for a recipe, or nothing: plain rows of each modality, and perhaps a label."""
    if entry.data:
        return NEEDED[entry.data]
    if len(modalities) < entry.min_modalities:
        return f"{entry.min_modalities} modalities"
    for what in entry.needs:
        if what in ("negatives", "tokens") or (what == "labels" and not label):
            return NEEDED[what]
    return ""


def fitting(es: EmbeddingSet, modalities: Sequence[str] = (), label: str = "") -> list[str]:
    """The recipes that can be trained on a set as it is."""
    chosen = modalities or es.modalities
    return [name for name, entry in RECIPES.items() if not lacking(entry, chosen, label)]


def table() -> list[dict[str, str]]:
    """What data you have, and which recipes that makes possible."""
    kinds = {
        "two modalities, one row each": (("a", "b"), ""),
        "three modalities or more": (("a", "b", "c"), ""),
        "labels beside them": (("a", "b"), "label"),
    }
    rows, seen = [], set()
    for data, (modalities, label) in kinds.items():
        names = [n for n, e in RECIPES.items() if n not in seen and not lacking(e, modalities, label)]
        seen |= set(names)
        rows.append({"data": data, "recipes": ", ".join(f"`{n}`" for n in names)})
    for what, said in NEEDED.items():
        names = [
            n for n, e in RECIPES.items() if n not in seen and (e.data == what or (what in e.needs and not e.data))
        ]
        seen |= set(names)
        if names:
            rows.append({"data": said, "recipes": ", ".join(f"`{n}`" for n in names)})
    return rows
