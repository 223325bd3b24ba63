"""Types reach users: a name that the package has is known to a type checker with its type, another is an error."""

from __future__ import annotations

import pytest

import workbench as wb

PROGRAM = """import workbench as wb
report = wb.diagnose({"a": [[1.0]]})
reveal_type(wb.diagnose)
reveal_type(report)
wb.diagnoze(1)
"""


@pytest.mark.slow
def test_a_misspelt_name_fails_and_a_right_one_has_its_type(tmp_path):
    from mypy import api

    file = tmp_path / "mine.py"
    file.write_text(PROGRAM)
    out, err, code = api.run([str(file), "--ignore-missing-imports", "--follow-imports=silent"])
    assert not err
    assert code == 1
    assert 'Module has no attribute "diagnoze"' in out
    assert "-> workbench.report.report.Report" in out
    assert 'Revealed type is "workbench.report.report.Report"' in out


def test_dir_is_the_public_names_and_each_is_there():
    assert dir(wb) == sorted(wb.__all__)
    for name in wb.__all__:
        assert getattr(wb, name) is not None
    with pytest.raises(AttributeError, match="diagnoze"):
        wb.diagnoze  # noqa: B018
