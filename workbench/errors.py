"""The one exception that means: the input is at fault, not the program."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

SHOWN = 12  # names that an error lists beside the nearest one
LONGEST = 300  # characters of an error: what is longer is not read
_LIST = re.compile(r"[^,;:()]+(?:, [^,;:()]+){6,}")  # a list of names inside a sentence


class InputError(ValueError):
    """One clear sentence for the person at the keyboard: what is wrong, where, and how to mend it.

    The command line prints it without a traceback and exits with 2. A sentence that lists many names is shortened.

    >>> print(unknown("recipe", "infonse", ["infonce", "siglip"]))
    no recipe named 'infonse': did you mean 'infonce'? there are infonce, siglip
    """

    def __init__(self, *said: object) -> None:
        super().__init__(*(brief(s) if isinstance(s, str) else s for s in said))

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


def listed(names: Iterable[object], show: int = SHOWN) -> str:
    """Names with commas between; of many the first, and how many more there are.

    >>> listed(["a", "b", "c", "d", "e"], 3)
    'a, b, c and 2 more'
    """
    every = [str(n) for n in names]
    if len(every) <= show + 1:
        return ", ".join(every)
    return f"{', '.join(every[:show])} and {len(every) - show:,} more"


def brief(text: str) -> str:
    """A sentence of at most `LONGEST` characters: long lists of names are cut first, then its middle."""
    short = text
    for show in (SHOWN, 6, 3):
        if len(short) <= LONGEST:
            return short
        short = _LIST.sub(lambda m, n=show: listed(m[0].split(", "), n), text)  # type: ignore[misc]
    if len(short) <= LONGEST:
        return short
    return f"{short[: LONGEST * 2 // 3 - 3]} … {short[len(short) - LONGEST // 3 :]}"


def first_line(e: BaseException) -> str:
    """The first line of what an exception says, or its kind where it says nothing."""
    return str(e).strip().splitlines()[0][:160] if str(e).strip() else type(e).__name__
