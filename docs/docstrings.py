"""Docstrings as the site shows them: doctests as code, formulas as MathML; Markdown alone knows neither."""

from __future__ import annotations

import re
from typing import Any

import griffe

from workbench.views.page import mathml

EXAMPLE = re.compile(r"(^>>> .*(?:\n.+)*)", re.M)
FORMULA = re.compile(r"\$\$.+?\$\$|\$.+?\$", re.S)


def drawn(formula: re.Match[str]) -> str:
    return mathml(formula.group())


def shown(text: str) -> str:
    """Each example, up to the next blank line, in a fence; the prose between with its formulas drawn.

    >>> shown("A sum.\\n\\n>>> 1 + 1\\n2\\n\\nNo more.").splitlines()[2:6]
    ['```pycon', '>>> 1 + 1', '2', '```']
    """
    return "".join(
        f"```pycon\n{part}\n```" if part.startswith(">>> ") else FORMULA.sub(drawn, part)
        for part in EXAMPLE.split(text)
    )


class Docstrings(griffe.Extension):
    """What mkdocstrings calls for every module, class and function that it reads."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = shown(obj.docstring.value)
