"""What Numba says is wrong with a function, without how it came to look at it."""

from __future__ import annotations

from itertools import takewhile

_INNERMOST = "raised a specific error:"  # one for each function that called the next
_AFTER, _WITHOUT = ("During:", "raised from"), "Failed in "


def reason(error: BaseException) -> str:
    """The innermost complaint of an error, in one line."""
    lines = map(str.strip, str(error).rsplit(_INNERMOST, 1)[-1].splitlines())
    said = takewhile(lambda line: not line.startswith(_AFTER), lines)
    return " ".join(line for line in said if line.strip("^ ") and _WITHOUT not in line).removeprefix("TypingError: ")
