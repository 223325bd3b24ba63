"""Guard: no file but its own knows the name of a diagnostic, a recipe, a format, a rule or an intervention.

A name typed into another file is a fact that will be forgotten there. Say it with the thing, in its decorator, or name
the thing by its function: `recall_at_1.__name__` fails loudly when it is renamed.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests import house
from workbench.diagnostics.registry import curves, diagnostics
from workbench.interventions import INTERVENTIONS
from workbench.objectives.recipes import RECIPES
from workbench.report.doctor import RULES, RUN_RULES, SET_RULES
from workbench.sets import run_folder
from workbench.sets.formats import READERS, WRITERS

FREE = ("papers", "report/doctor")  # a claim or a rule is about these very numbers and recipes

# (file or folder, name): how often, and why it stands there
ALLOWED = {
    ("cli/demo.py", "infonce"): (1, "the demo tells the story of these two recipes"),
    ("cli/demo.py", "gram"): (1, "the demo tells the story of these two recipes"),
    ("cli/runs.py", "torch"): (1, "the library"),
    ("version.py", "datasets"): (1, "a module of 0.1"),
    ("sets/formats/load.py", "arrow"): (1, "what Hugging Face calls it"),
    ("cli/treatments.py", "gap"): (1, "the head of a column"),
    ("cli/treatments.py", "hubs"): (1, "the head of a column"),
    ("cli/treatments.py", "retrieval"): (1, "a goal, the default, where its room is not yet loaded"),
    ("cli/advice.py", "retrieval"): (1, "a goal, the default, where its room is not yet loaded"),
    ("treatments/base.py", "retrieval"): (1, "a goal"),
    ("diagnostics", "gram"): (9, "the Gram matrix in a state"),
    ("diagnostics/gap.py", "gap"): (1, "a field of the curve label_gap"),
    ("diagnostics/gap.py", "recall_at_1"): (1, "a field of the curve shift_curve"),
    ("workspace/panels/whatif.py", "shift"): (1, "a slider"),
    ("workspace/panels/whatif.py", "whiten"): (1, "a slider"),
    ("workspace/panels/whatif.py", "noise"): (1, "a slider"),
    ("integrations/__init__.py", "torch"): (2, "the library"),
    ("integrations/clip.py", "median_rank"): (1, "open_clip's own name of it"),
    ("objectives/recipes", "distil"): (1, "a term of a loss"),
    ("objectives/recipes", "alignment"): (1, "a term of a loss"),
    ("objectives/recipes", "uniformity"): (1, "a term of a loss"),
    ("report/report.py", "torch"): (1, "the library"),
    ("sets/encoders/models.py", "clip"): (2, "a kind of model in transformers"),
    ("sets/encoders/models.py", "siglip"): (1, "a kind of model in transformers"),
    ("sets/formats/tar.py", "npy"): (1, "the suffix of a member of a shard"),
    ("training/libraries.py", "clip"): (2, "a kind of model in transformers"),
    ("views/figures.py", "recall_at_1"): (1, "a field of the curve shift_curve"),
    ("views/figures.py", "uniformity"): (1, "a field of the curve uniformity_by_size"),
    ("views/figures.py", "gap"): (2, "a field of the curve label_gap"),
}


def declared() -> dict[str, set[str]]:
    """Every registered name with the modules that declare it."""
    found: dict[str, set[str]] = {}
    every = [
        *((d.name, d.function) for d in [*diagnostics().values(), *curves().values()]),
        *((r.name, r.build) for r in RECIPES.values()),
        *((r.name, r.read) for r in READERS.values()),
        *((w.name, w.write) for w in WRITERS.values()),
        *((r.name, r.function) for r in [*RULES.values(), *SET_RULES.values(), *RUN_RULES.values()]),
        *INTERVENTIONS.items(),
    ]
    for name, function in every:
        found.setdefault(name, set()).add(function.__module__)
    return found | {key: {run_folder.__name__} for key in (run_folder.RECALL, run_folder.CHANCE)}


def typed(source: str, known: dict[str, set[str]], module: str) -> Counter[str]:
    """Registered names that stand as strings in a module which does not declare them; `__all__` names Python's."""
    tree = ast.parse(source)
    face = {
        id(c)
        for node in tree.body
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        for c in ast.walk(node)
    }
    words = (
        n.value.removesuffix(" ")  # the begin of a key in a log, as in startswith
        for n in ast.walk(tree)
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in face
    )
    return Counter(word for word in words if module not in known.get(word, {module}))


def files() -> dict[str, Path]:
    return {
        str(f.relative_to(house.SOURCE)): f
        for f in sorted(house.SOURCE.rglob("*.py"))
        if not str(f.relative_to(house.SOURCE)).startswith(FREE)
    }


def place(file: str, name: str) -> str:
    """The entry that a file falls under: its own, or its folder's."""
    return next((p for p, n in ALLOWED if n == name and (file == p or file.startswith(f"{p}/"))), file)


def test_names_stand_where_they_are_declared():
    known, found = declared(), Counter()
    for file, path in files().items():
        module = "workbench." + file.removesuffix(".py").replace("/", ".")
        for name, count in typed(path.read_text(), known, module).items():
            found[place(file, name), name] += count
    allowed = Counter({key: count for key, (count, _) in ALLOWED.items()})
    more, fewer = dict(found - allowed), dict(allowed - found)
    assert more == {}, "typed by hand; say the fact in the thing's decorator, or use its function's __name__"
    assert fewer == {}, "no longer there: take it off the list"


@pytest.mark.parametrize("name", ["recall_at_1", "gram", "hdf5", "hubs", "whiten"])
def test_a_name_typed_by_hand_is_found(name):
    source = f'"""{name} in prose is prose."""\n__all__ = ["{name}"]\nSHOWN = ("{name}", "other")\n'
    assert typed(source, declared(), "workbench.somewhere") == {name: 1}
    assert not typed(source, declared(), next(iter(declared()[name])))


def test_the_begin_of_a_key_typed_by_hand_is_found_too():
    source = 'gaps = [v for k, v in look.items() if k.startswith("modality_gap ")]'
    assert typed(source, declared(), "workbench.somewhere") == {"modality_gap": 1}
