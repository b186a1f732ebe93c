"""Options and fixtures of the suite."""

from __future__ import annotations

import difflib
import gc
import re
import zlib
from collections import Counter, defaultdict
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
    config.addinivalue_line("markers", "optimised: kernels are compiled as users have them; those of most other tests "
                            "LLVM writes down as they stand, in a third of the time, but for --full")


def pytest_collection_modifyitems(config, items):
    """Leave what is marked `full` to `--full`, and of what is marked `half` or `one_in(n)` all but that part."""
    if config.getoption("--full"):
        return
    of_tests = defaultdict(list)
    for item in items:
        if item.get_closest_marker("full") is None:
            of_tests[item.nodeid.partition("[")[0]].append(item)
    kept = {item for cases in of_tests.values() for item in _tried(cases)}
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def _part(item) -> int:
    """Of how many of its test's cases this is the one that is tried, on average."""
    some = item.get_closest_marker("one_in")
    return some.args[0] if some is not None else 2 if item.get_closest_marker("half") is not None else 1


def _tried(cases):
    """The cases of a test that are tried: chosen by name, and more until all that a parameter can be is among them.

    What is another one in nearly every case is no such parameter.
    """
    if len(cases) == 1 or all(_part(item) == 1 for item in cases):
        return cases

    def values(item):
        return {(name, _known_by(value)) for name, value in item.callspec.params.items()}

    all_values, parts = Counter(name for name, _ in set().union(*map(values, cases))), max(map(_part, cases))
    often = {name for name, number in all_values.items() if number * parts <= len(cases)}
    kept = [item for item in cases if zlib.crc32(item.name.encode()) % _part(item) == 0]
    seen = set().union(*map(values, kept))
    for item in (item for item in cases if item not in kept):
        new = {(name, value) for name, value in values(item) - seen if name in often}
        if new:
            kept.append(item)
            seen |= new
    return kept


def _known_by(value):
    """What tells a value of a parameter from others."""
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """Kernels are optimised for tests that are marked so, one in eight of the others, and with --full for all."""
    optimised = item.get_closest_marker("optimised") or zlib.crc32(item.name.encode()) % 8 == 0
    if optimised or item.config.getoption("--full"):
        yield
        return
    from tests.laws.checks.quick_kernels import compiled_quickly

    with compiled_quickly():
        yield


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
