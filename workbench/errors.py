"""The one exception that means: the input is at fault, not the program."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN = 12  # names that an error lists beside the nearest one


class InputError(ValueError):
    """One clear sentence for the person at the keyboard: what is wrong, where, and how to mend it.

    The command line prints it without a traceback and exits with 2.

    >>> print(unknown("recipe", "infonse", ["infonce", "siglip"]))
    no recipe named 'infonse': did you mean 'infonce'? there are infonce, siglip
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in the place of a traceback: the sentence is all there is to know."""
        return [f"InputError: {self}"]


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not there, with the nearest one that is."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near and len(known) > SHOWN:
        return InputError(f"no {what} named {name!r}: did you mean {near[0]!r}? There are {len(known)} of them")
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"no {what} named {name!r}: {hint}there are {', '.join(known) or 'none'}")


def first_line(e: Exception) -> str:
    """The first line of what an exception says, or its kind where it says nothing."""
    return str(e).strip().splitlines()[0][:160] if str(e).strip() else type(e).__name__
