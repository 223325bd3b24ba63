"""What every list is: a result that says itself in sentences, in a terminal and in a notebook's cell."""

from __future__ import annotations

from html import escape


class Said:
    """`sentences` is what a result comes to; its other faces follow from it."""

    @property
    def sentences(self) -> list[str]:
        """What was found, in words."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return "\n".join(self.sentences)

    def _repr_html_(self) -> str:
        return "".join(f"<p>{escape(s)}</p>" for s in self.sentences)
