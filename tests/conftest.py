"""Options and fixtures of the suite."""

from __future__ import annotations

import difflib
import gc
import re
import zlib
from pathlib import Path
from unittest.mock import patch

import pytest

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser):
    """Say what this suite adds to pytest's command line."""
    parser.addoption("--full", action="store_true", help="also what takes an hour: every law on compiled kernels")
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files")


def pytest_configure(config):
    """Say what this suite's marks mean.

    Graphs and compilers make many objects that live on: looking for cycles among them as often as Python does by
    default takes a quarter of the suite's time.
    """
    gc.set_threshold(100_000, 50, 100)
    config.addinivalue_line("markers", "full: only run with --full")
    config.addinivalue_line("markers", "half: of very many cases every other one, chosen by its name; all with --full")
    config.addinivalue_line("markers", "one_in(n): of very many cases one in n, chosen as for `half`")
    config.addinivalue_line("markers", "by_python(**cases): kernels are run by Python as their text stands, "
                            "where parameters of the test have these values, but for --full")


def pytest_collection_modifyitems(config, items):
    """Leave what is marked `full` to `--full`, and of what is marked `half` or `one_in(n)` all but that part."""
    left = [] if config.getoption("--full") else [i for i in items if _is_left(i)]
    if left:
        config.hook.pytest_deselected(items=left)
        gone = set(left)
        items[:] = [i for i in items if i not in gone]


def _is_left(item) -> bool:
    if item.get_closest_marker("full") is not None:
        return True
    some = item.get_closest_marker("one_in")
    parts = some.args[0] if some is not None else 2 if item.get_closest_marker("half") is not None else 1
    return zlib.crc32(item.name.encode()) % parts != 0


@pytest.fixture(autouse=True)
def _by_python(request):
    """What is marked `by_python` asks what kernels say, not what Numba makes of it: that the laws of backends hold."""
    mark, cases = request.node.get_closest_marker("by_python"), getattr(request.node, "callspec", None)
    wanted = mark is not None and all(cases.params[name] == value for name, value in mark.kwargs.items())
    if not wanted or request.config.getoption("--full"):
        yield
        return
    from tests.laws.checks.plain_kernels import run_by_python

    with run_by_python():
        yield


@pytest.fixture(autouse=True)
def _nothing_is_kept_of_what_is_patched(request):
    """Nor found: what a test has changed of the package is not what the package computes."""
    if "monkeypatch" not in request.fixturenames:
        yield
        return
    with patch("scg.kept._structure", lambda graph, options: None):
        yield


@pytest.fixture
def registry():
    """What a test registers is forgotten."""
    from scg.baselines import BASELINES
    from scg.distributions.distribution import FAMILIES
    from scg.estimators import ESTIMATORS

    with patch.dict(FAMILIES), patch.dict(BASELINES), patch.dict(ESTIMATORS):
        yield


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
