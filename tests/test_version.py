"""What was called otherwise in the last version goes on working, and says so."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from workbench.version import MOVED


def test_modules_of_the_last_version_are_found_where_they_are_now():
    for old, now in MOVED.items():
        sys.modules.pop(f"workbench.{old}", None)
        with pytest.warns(DeprecationWarning, match=f"workbench.{now} since"):
            found = importlib.import_module(f"workbench.{old}")
        assert found is importlib.import_module(f"workbench.{now}")
    code = "from workbench.formats import load; from workbench.sets.formats import load as now; assert load is now"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
