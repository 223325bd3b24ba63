"""The law of imports: no circle between rooms, none between the files of a room, and no arrow that is not allowed."""

from __future__ import annotations

import pytest

from tests import house

EDGES = house.graph()
ARROWS = house.arrows(EDGES)
ROOMS = sorted(r for r in ARROWS if (house.SOURCE / r).is_dir())


def test_no_circle_between_rooms_but_the_named_one():
    low, high = house.EXCEPTION
    assert high in ARROWS[low], "the exception is no longer needed: take it out"
    without = ARROWS | {low: ARROWS[low] - {high}}
    assert house.knots(without) == []
    inside = {m for m in EDGES if house.room(m) == low and any(house.room(t) == high for t in EDGES[m])}
    assert inside <= {f"workbench.{low}.{name}" for name in ("report", "comparison")}, "only what draws itself"


@pytest.mark.parametrize("room", ROOMS)
def test_no_circle_between_the_files_of_a_room(room):
    mine = {m: {t for t in EDGES[m] if house.room(t) == room} for m in EDGES if house.room(m) == room}
    assert house.knots(mine) == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_its_docstring_allows_and_no_more(room):
    what, may, first = house.says(room)
    assert what.endswith("."), f"workbench/{room}/__init__.py: say in one line what the room is for"
    assert first, f"workbench/{room}/__init__.py: say which file to open first"
    if may == ["everything"]:
        return
    allowed = set(may) | ({house.EXCEPTION[1]} if room == house.EXCEPTION[0] else set())
    assert ARROWS[room] <= allowed, f"{room} imports {sorted(ARROWS[room] - allowed)}, which it may not"


def test_few_files_stand_beside_the_rooms():
    files = {p.stem for p in house.SOURCE.glob("*.py")} - {"__init__", "__main__"}
    assert len(files) <= 5, sorted(files)


def test_a_planted_circle_is_found():
    assert house.knots({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert house.knots({"a": {"b"}, "b": set()}) == []


def test_the_docs_show_the_ground_plan_as_it_is():
    page = (house.SOURCE.parent / "docs" / "house.md").read_text()
    assert page.partition("<!-- arrows -->\n")[2].partition("\n<!-- end -->")[0] == house.table()
