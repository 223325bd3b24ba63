"""The typed parameters of a notebook: read from its cell, from the command line, from files of runs and grids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench as wb
from tests.notebooks import notebook
from workbench.batch import parameters, plan
from workbench.batch.jobs import fingerprint, read_grid, read_runs
from workbench.batch.parameters import Parameter
from workbench.cli.batches import split
from workbench.errors import InputError


def test_parameters_are_read_with_type_default_and_comment(tmp_path):
    cell = 'a: int | None = None  # how many\nb = "x # y"  # not a comment # inside\nc: float = 0.5\nd = f()\n'
    found = parameters(notebook(tmp_path, cell))
    assert found["a"] == Parameter("a", "int | None", None, "how many")
    assert found["b"] == Parameter("b", "str", "x # y", "not a comment # inside")
    assert found["c"].type == "float"
    assert found["d"].type == ""


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "3", 3),
        ("float", "3", 3),
        ("float", "1e-3", 0.001),
        ("str", "3", "3"),
        ("str", "null", "null"),
        ("int | None", "null", None),
        ("str | None", "a", "a"),
        ("bool", "true", True),
        ("list[str]", "[a, b]", ["a", "b"]),
        ("dict", "{a: 1}", {"a": 1}),
        ("Literal['a', 'b']", "b", "b"),
        ("Optional[int]", "4", 4),
        ("", "[1]", [1]),
        ("int", "010", 10),
        ("str", "010", "010"),
        ("str", "None", "None"),
        ("str | None", "None", None),
        ("str | None", "null", None),
        ("str | None", "", None),
        ("str | None", "no", "no"),
        ("str | None", "12:30", "12:30"),
        ("str | None", "1e-3", "1e-3"),
        ("float | None", "None", None),
        ("float | None", "1e-3", 0.001),
        ("int | str", "12:30", "12:30"),
        ("int | str", "7", 7),
        ("bool | None", "~", None),
        ("list[str]", "[010, no, 12:30, 1e-3]", ["010", "no", "12:30", "1e-3"]),
        ("list[int]", "[010, 2]", [10, 2]),
        ("list[float]", "[1e-3, 2.5]", [0.001, 2.5]),
        ("dict[str, int]", "{no: 010}", {"no": 10}),
        ("Optional[str]", "null", None),
        ("Literal[1, 2]", "2", 2),
        ("Union[int, None]", "null", None),
        ("", "010", 10),
        ("", "12:30", "12:30"),
        ("", "no", "no"),
        ("", "2020-01-01", "2020-01-01"),
        ("", "1e-3", 0.001),
    ],
)
def test_text_becomes_a_value_of_the_type(kind, text, value):
    found = Parameter("p", kind, None).read(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"), [("int", "a"), ("int", "1.5"), ("bool", "3"), ("list[int]", "[a]"), ("Literal['a']", "b")]
)
def test_text_of_another_type_is_refused(kind, text):
    with pytest.raises(InputError, match="parameter p is"):
        Parameter("p", kind, None, "what it is").read(text)


@pytest.mark.parametrize("text", ["010", "12:30", "1e-3", "no", "0x1F", "2020-01-01", "7", "2.5", "true", "~", "a: b"])
def test_a_grid_file_and_the_command_line_read_a_value_alike(text, tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text(f"x: [{text}]\n" if ": " not in text else f"x: ['{text}']\n")
    from_file, typed = read_grid(file)["x"][0], Parameter("x", "", None).read(text)
    assert ": " in text or (from_file == typed and type(from_file) is type(typed))


@given(st.integers(), st.text(), st.booleans())
def test_what_a_default_shows_is_the_type_that_is_asked_for(i, s, b):
    for value, other in ((i, s), (s, i), (b, s)):
        p = Parameter("p", type(value).__name__, value)
        assert p.check(value) is value
        with pytest.raises(InputError):
            p.check(other)


def test_values_part_at_commas_outside_brackets():
    assert split("a,[b,c],'d,e',{f: 1, g: 2}") == ["a", "[b,c]", "d,e", "{f: 1, g: 2}"]


def test_grids_and_lists_from_files(tmp_path):
    (tmp_path / "g.yaml").write_text("x: [1, 2]\nhow: well\n")
    (tmp_path / "l.yaml").write_text("- {x: 1}\n- {x: 7, how: badly}\n")
    (tmp_path / "one.json").write_text('{"x": 9}')
    (tmp_path / "no.yaml").write_text("- 3")
    assert read_grid(tmp_path / "g.yaml") == {"x": [1, 2], "how": ["well"]}
    assert read_runs([tmp_path / "l.yaml", tmp_path / "one.json"]) == [{"x": 1}, {"x": 7, "how": "badly"}, {"x": 9}]
    with pytest.raises(InputError, match=r"no\.yaml"):
        read_runs([tmp_path / "no.yaml"])


def test_a_job_is_known_by_notebook_parameters_and_data(tmp_path):
    source = notebook(tmp_path, "set: str = ''\n", "pass")
    data = wb.testing.planted(items=40).save(tmp_path / "set")

    def key():
        return plan(source, tmp_path / "out", given={"set": str(data)})[0].key

    first = key()
    assert key() == first
    (tmp_path / "set" / "selections").mkdir()
    (tmp_path / "set" / "selections" / "a.json").write_text('{"ids": []}')
    second = key()
    assert second != first, "another selection is other data"
    notebook(tmp_path, "set: str = ''\n", "pass  # changed")
    assert key() != second
    assert fingerprint("no such thing") == ""
    assert fingerprint(str(tmp_path)) == ""


def test_a_file_that_is_no_notebook_is_one_sentence(tmp_path):
    (tmp_path / "bad.ipynb").write_text("{")
    for name in ("bad.ipynb", "none.ipynb"):
        with pytest.raises(InputError, match=name):
            parameters(tmp_path / name)
