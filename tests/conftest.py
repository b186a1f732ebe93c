"""Options and fixtures of the suite."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser):
    """Say what this suite adds to pytest's command line."""
    parser.addoption("--full", action="store_true", help="compile every problem under every strategy (slow)")
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files")


@pytest.fixture
def golden(request):
    """``golden(text)``: the text is that of a file named after the test; ``--update-golden`` writes it."""
    def check(text: str, suffix: str = "txt") -> None:
        name = re.sub(r"[^\w.-]+", "_", request.node.name).strip("_")
        path = GOLDEN / request.node.path.stem.removeprefix("test_") / f"{name}.{suffix}"
        text = text.rstrip("\n") + "\n"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        hint = "if it is meant, run pytest with --update-golden and read the difference"
        shown = path.relative_to(GOLDEN.parent.parent)
        if not path.exists():
            pytest.fail(f"There is no {shown}; {hint}.", pytrace=False)
        old = path.read_text(encoding="utf-8")
        if old != text:
            lines = difflib.unified_diff(old.splitlines(), text.splitlines(), "golden", "now", lineterm="", n=1)
            pytest.fail(f"{shown} differs; {hint}.\n" + "\n".join(lines), pytrace=False)

    return check
