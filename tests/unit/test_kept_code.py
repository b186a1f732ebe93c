"""How much code is kept: a limit, what goes first, and what is said of it; and of compilations that take long."""

from __future__ import annotations

import io
import os
import sys
import time

import pytest
from scg_numba import stored, waiting

import scg

NAMES = [f"{i:032x}.code" for i in range(6)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SCG_CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept"


def _write(name: str, age: int) -> None:
    stored.write(name, bytes(1000))
    os.utime(stored.directory() / name, (time.time() - age,) * 2)


def test_what_was_used_longest_ago_goes_first(folder, monkeypatch):
    for i, name in enumerate(NAMES[:4]):
        _write(name, 100 - i)
    assert stored.read(NAMES[0]) is not None  # now it is the last that was used
    monkeypatch.setenv("SCG_CACHE_SIZE", "0.0042")  # of which nine tenths are three files
    _write(NAMES[4], 0)
    assert sorted(p.name for p in folder.iterdir()) == [NAMES[0], NAMES[3], NAMES[4]]
    assert stored.read(NAMES[0]) == bytes(1000) and stored.read(NAMES[1]) is None


def test_other_files_are_not_touched(folder, monkeypatch):
    stored.write(NAMES[0], b"body")
    (folder / "notes.txt").write_bytes(bytes(10_000))
    (folder / NAMES[1]).symlink_to(folder / "notes.txt")
    monkeypatch.setenv("SCG_CACHE_SIZE", "0")
    stored.write(NAMES[2], b"body")
    assert sorted(p.name for p in folder.iterdir()) == [NAMES[1], "notes.txt"]
    scg.clear_cache()
    assert sorted(p.name for p in folder.iterdir()) == [NAMES[1], "notes.txt"]


def test_what_another_process_removes_is_no_error(folder, monkeypatch):
    for name in NAMES[:3]:
        _write(name, 10)
    monkeypatch.setattr(os, "listdir", lambda path, listed=os.listdir: [*listed(path), NAMES[5]])
    monkeypatch.setenv("SCG_CACHE_SIZE", "0.001")
    stored.write(NAMES[3], b"body")
    assert scg.cache_info().files <= 1


def test_what_is_kept_is_told_and_removed(folder, monkeypatch):
    assert scg.cache_info() == (str(folder), 0, 0, stored.LIMIT)
    scg.clear_cache()
    stored.write(NAMES[0], bytes(1000))
    info = scg.cache_info()
    assert info.files == 1 and 1000 < info.bytes < 1100 and scg.cache_info("numpy") == (None, 0, 0, 0)
    scg.clear_cache()
    assert scg.cache_info().files == 0 and list(folder.iterdir()) == []
    for given, limit in (("5", 5_000_000), ("much", stored.LIMIT), ("inf", stored.LIMIT), ("", stored.LIMIT)):
        monkeypatch.setenv("SCG_CACHE_SIZE", given)
        assert scg.cache_info().limit == limit


# --- those who wait ---------------------------------------------------------------------------------------------------
class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def said(monkeypatch):
    """What is said while something is done, with a given stream as stderr; patched in the test, for pytest does too."""
    monkeypatch.delenv("SCG_QUIET", raising=False)

    def run(stream, name: str, most: float, first: float = 0.02) -> str:
        monkeypatch.setattr(waiting, "SECONDS", first)
        monkeypatch.setattr(sys, "stderr", stream)
        with waiting.told(name, 1234), waiting.told(name, 1234):  # the second is another thread's
            end = time.time() + most
            while time.time() < end and not stream.getvalue():
                time.sleep(0.005)
        time.sleep(2 * first)
        return stream.getvalue()

    return run


def test_a_long_compilation_says_so_once(said):
    stream = Terminal()
    first = said(stream, "my\ngraph", 5.0)
    assert first.count("\n") == 1 and 'graph "my\\ngraph" (1234 lines)' in first
    assert said(Terminal(), "my\ngraph", 5.0) == first


def test_a_short_one_says_nothing(said):
    assert said(Terminal(), "short", 0.0, 0.1) == ""


def test_nor_where_nobody_reads_it(said, monkeypatch):
    assert said(io.StringIO(), "g", 0.06) == ""
    monkeypatch.setattr(sys, "stderr", None)
    with waiting.told("g", 10):
        time.sleep(0.04)


def test_nor_where_it_is_not_wanted(said, monkeypatch):
    monkeypatch.setenv("SCG_QUIET", "1")
    assert said(Terminal(), "g", 0.06) == ""


def test_the_kernel_asks_for_it(monkeypatch):
    asked = []
    monkeypatch.setattr("scg_numba.kernel.told", lambda *given: asked.append(given) or waiting.told(*given))
    g = scg.Graph("asked")
    g.cost("c", (g.sample("b", scg.Bernoulli(logits=g.param("t"))) - 0.45) ** 2)  # the toy, which is compiled already
    f = scg.compile(g)
    f({"t": 0.1})
    f({"t": 0.2})
    assert asked == [("asked", f.source.count("\n", f.source.index("@lowered")))]
