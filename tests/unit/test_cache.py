"""What is kept of compiled kernels: damage to it costs compilation, never an error and never a number."""

from __future__ import annotations

import importlib
import inspect
import os
import resource
import stat
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher
from scg_numba import cache, stored
from scg_numba.kernel import NumbaKernel

import scg

pytestmark = pytest.mark.optimised
TEXT = """from numba import njit

@njit
def chunk(x):
    return 2.0 * x - 1.0
"""

TOY = """
import sys
import scg
g = scg.Graph("toy")
b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
g.cost("loss", (b - 0.45) ** 2)
f = scg.compile(g)
r = f({"theta": 0.3}, samples=1000, rng=0)
found, loaded = bool(f._kernel.function.stats.cache_hits), "scg_numba.lowering" in sys.modules
assert found != loaded  # the compiler is loaded by those who compile
print(r.cost.hex(), float(r.grad["theta"]).hex(), found)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SCG_CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept"


def _compiles() -> bool:
    """Whether a fresh copy of the text's function has to be compiled; what it computes is right in any case."""
    function = cache._run(f"scg_kernel_{cache.digest(TEXT)}", TEXT).chunk
    assert function(3.0) == 5.0
    return sum(function.stats.cache_hits.values()) == 0


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _replace_by_link(path: Path) -> None:
    whole = path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(whole)


def _of_another_name(path: Path) -> None:
    """Whole, but the code of another function."""
    name = "other.code"
    stored.write(name, b"what was compiled")
    (path.parent / name).replace(path)


def _of_another_version(path: Path) -> None:
    """Whole and of the right name, but not what this Numba writes."""
    stored.write(path.name, b"cos\nsystem\n(S'exit 3'\ntR")


DAMAGE = {
    "cut short": lambda p: p.write_bytes(p.read_bytes()[:-100]), "one bit": _flip, "folder": _replace_by_folder,
    "zeros": lambda p: p.write_bytes(bytes(p.stat().st_size)), "empty": lambda p: p.write_bytes(b""),
    "one byte more": lambda p: p.write_bytes(p.read_bytes() + b"\0"), "pipe": _replace_by_pipe,
    "link": _replace_by_link, "other function": _of_another_name, "other version": _of_another_version,
    "gone": Path.unlink, "no mode": lambda p: p.chmod(0), "others may write": lambda p: p.chmod(0o666),
}  # fmt: skip
READABLE_BY_ROOT = {"no mode"} if hasattr(os, "geteuid") and os.geteuid() == 0 else set()


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_costs_compilation(folder, kind):
    assert _compiles() and not _compiles()
    (path,) = folder.iterdir()
    DAMAGE[kind](path)
    assert _compiles() == (kind not in READABLE_BY_ROOT)
    assert _compiles() == (kind == "folder")  # what can be replaced was
    assert [p.name for p in folder.iterdir() if p.name != "other.code"] == [path.name]


def test_every_bit_counts(folder):
    stored.write("name", body := os.urandom(40))
    whole = (folder / "name").read_bytes()
    assert stored.read("name") == body and stored.read("nam") is None
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        (folder / "name").write_bytes(changed)
        assert stored.read("name") is None
    for length in range(len(whole)):
        (folder / "name").write_bytes(whole[:length])
        assert stored.read("name") is None


def test_names_of_code_hold_all_that_it_depends_on(monkeypatch):
    text = "from scg_numba.runtime import settle\n"
    one = cache.digest(text)
    assert cache.digest(text + "#") != one
    monkeypatch.setattr(cache.numba, "__version__", "0")
    assert cache.digest(text) != one
    monkeypatch.undo()
    for option in ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE"):  # as the environment says how much Numba has optimised
        monkeypatch.setattr(cache.numba.config, option, 1 - min(getattr(cache.numba.config, option), 1))
        assert cache.digest(text) != one, option
        monkeypatch.undo()
    below = cache._below(frozenset(["scg_numba.special"]))
    assert set(below) == {"scg_numba.special", "scg_numba.vector_math"} and all(below.values())
    monkeypatch.setattr(cache, "_below", lambda names: {"scg_numba.runtime": "another source"})
    assert cache.digest(text) != one


def test_nothing_is_read_from_folders_that_others_can_write(folder):
    stored.write("name", b"body")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and stat.S_IMODE((folder / "name").stat().st_mode) == 0o600
    for mode, expected in ((0o777, None), (0o1777, None), (0o770, None), (0o755, b"body")):
        folder.chmod(mode)
        assert stored.read("name") == expected
    folder.chmod(0o777)
    stored.write("second", b"body")
    assert [p.name for p in folder.iterdir()] == ["name"]


@pytest.mark.parametrize("owner, mode, trusted", [
    ("me", 0o600, True), ("me", 0o644, True), ("root", 0o644, True), ("me", 0o620, False), ("me", 0o602, False),
    ("other", 0o600, False), ("other", 0o644, False)])  # fmt: skip
def test_whose_files_are_trusted(owner, mode, trusted, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    uid = {"me": 1000, "root": 0, "other": 1001}[owner]
    for kind, check in ((stat.S_IFREG, stat.S_ISREG), (stat.S_IFDIR, stat.S_ISDIR)):
        assert stored._ours(os.stat_result((kind | mode, 0, 0, 1, uid, 0, 0, 0, 0, 0)), check) == trusted
    assert not stored._ours(os.stat_result((stat.S_IFIFO | mode, 0, 0, 1, uid, 0, 0, 0, 0, 0)), stat.S_ISREG)


def test_a_full_disk_stops_nothing(folder):
    """A limit on the size of files fails as a full disk does, in the middle of writing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        assert _compiles()
        stored.write("name", bytes(1000))
        stored.write("short", b"it fits")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in folder.iterdir()] == ["short"] and stored.read("short") == b"it fits"


def test_an_interrupt_leaves_nothing_half_written(folder, monkeypatch):
    monkeypatch.setattr(stored, "_digest", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        stored.write("name", b"body")
    assert not list(folder.iterdir())


@pytest.mark.parametrize("place", ["a file", "/proc/none/kept", "/dev/null/kept", "nowhere"])
def test_a_place_that_cannot_be_written_stops_nothing(place, tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("here")
    monkeypatch.setenv("SCG_CACHE_DIR", place if place.startswith("/") else str(tmp_path / place))
    if place == "nowhere":
        monkeypatch.delenv("SCG_CACHE_DIR")
        monkeypatch.setattr(stored.platformdirs, "user_cache_dir", lambda name: f"~/.cache/{name}")
        monkeypatch.chdir(tmp_path)
    assert _compiles() and _compiles()
    assert [p.name for p in tmp_path.iterdir()] == ["a file"]


def test_writers_and_readers_at_once(folder):
    """Several threads and processes write one name: what is read is whole, whoever wrote it."""
    bodies = [bytes([i]) * 200_000 for i in range(4)]
    failures: list = []

    def work(i: int) -> None:
        for _ in range(20):
            stored.write("name", bodies[i])
            if stored.read("name") not in (None, *bodies):
                failures.append(i)

    children = []
    for i in range(2):
        child = os.fork()
        if child == 0:
            work(i)
            os._exit(len(failures))
        children.append(child)
    threads = [threading.Thread(target=work, args=(i,)) for i in (2, 3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0] and not failures
    stored.write("name", bodies[0])
    assert stored.read("name") == bodies[0] and len(list(folder.iterdir())) == 1


def test_no_function_has_a_cache_of_numbas_own():
    """That would write beside the package, read what it finds there, and stop the import where it cannot."""
    from scg_numba.text import IMPORTS

    cache._run("scg_kernel_x", IMPORTS)
    sources = cache._below(cache._imported(IMPORTS))
    assert not [name for name, text in sources.items() if "cache=True" in text]
    called = [importlib.import_module(name) for name in sources]
    functions = [f for module in called for f in vars(module).values() if isinstance(f, Dispatcher)]
    assert len(functions) > 10 and all(isinstance(f._cache, cache.KeptCode) for f in functions)


def test_the_text_is_run_when_something_must_be_compiled(folder):
    """And then the function is what it says, for each type that comes."""
    def module():
        cache._loaded.clear()
        return cache.load(text)

    text = TEXT.replace("from numba import njit", "from scg_numba.lowering import lowered\nOPTIONS = {}")
    text = text.replace("@njit", "@lowered(**OPTIONS)").replace("return 2.0 * x - 1.0", "x[0] = 2.0 * x[0] - 1.0")
    for given, hits in (([3.0], 0), ([3.0], 1), (np.array([3.0], np.float32), 0), (np.array([3.0], np.float32), 1)):
        found, x = module(), np.array(given)
        found.chunk(x)
        assert x[0] == 5.0 and sum(found.chunk.stats.cache_hits.values()) == hits
        assert ("OPTIONS" in vars(found)) == (not hits)
        assert "OPTIONS" in vars(cache.read(found)) and found.chunk.py_func.__code__.co_names == ("body",)
        found.chunk(y := np.array([1], np.int64))  # of a third type, by a function that was read after it was found
        assert y[0] == 1


def in_another_process(code: str, **environment) -> list[str]:
    """The words that it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          env={"PATH": "", "PYTHONPATH": os.pathsep.join(sys.path), **environment})
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.split()


def test_kernels_are_found_by_the_next_process_and_survive_damage(tmp_path):
    def run(**environment) -> list[str]:
        return in_another_process(TOY, **environment)

    kept = tmp_path / "kept"
    cost, gradient, found = run(SCG_CACHE_DIR=str(kept))
    assert found == "False"
    assert run(SCG_CACHE_DIR=str(kept)) == [cost, gradient, "True"]
    for path in kept.iterdir():
        data = bytearray(path.read_bytes())
        for at in range(100, len(data), 501):
            data[at] ^= 1
        path.write_bytes(data)
    assert run(SCG_CACHE_DIR=str(kept)) == [cost, gradient, "False"]
    assert run(SCG_CACHE_DIR=str(kept)) == [cost, gradient, "True"]
    assert np.isfinite(float.fromhex(gradient)) and {p.suffix for p in kept.iterdir()} == {".code"}


def test_what_is_called_beside_a_kernel_is_kept(monkeypatch):
    """Where a kernel is found its text is not run, and nobody has said yet that its helpers are kept."""
    function = importlib.import_module("scg_numba.products").finish_at_once
    monkeypatch.setattr(function, "_cache", NullCache())
    cache.keep_helper.cache_clear()
    assert NumbaKernel(None, SimpleNamespace(multiplies=True)).finish is function
    assert isinstance(function._cache, cache.KeptCode)


@pytest.mark.full
def test_where_nothing_can_be_kept_everything_is_compiled():
    assert in_another_process(TOY, HOME="/proc/none")[2] == "False"


def _toy(graph: str, theta: str, b: str, cost: str) -> scg.Graph:
    g = scg.Graph(graph)
    draw = g.sample(b, scg.Bernoulli(logits=g.param(theta, 2) - 0.77))
    g.cost(cost, (draw.sum() - 0.5) ** 2)
    return g


def _looped(graph: str, theta: str, b: str, cost: str) -> scg.Graph:
    g = scg.Graph(graph)
    m, x = g.param(theta), g.data("x")

    def step(carry, _):
        draw = g.sample(b, scg.Normal(loc=g.node("inner " + b, m * carry), scale=1.0))
        g.cost(cost, g.node("named " + b, draw * x) ** 2)
        return draw, None

    g.scan(step, 0.5, length=3)
    return g


@pytest.mark.parametrize("make", [_toy, _looped])
@pytest.mark.parametrize("strategy", [None, scg.ScoreFunction()], ids=str)
def test_a_graph_that_is_declared_elsewhere_has_the_same_code(make, strategy):
    """Under other names, from other lines, what is compiled is the same; what is shown has its own names and lines."""
    first = scg.compile(make("one", "theta", "b", "loss"), strategy=strategy)
    elsewhere = exec_in_another_file(make, strategy)
    renamed = scg.compile(make("two # 'a", "q # \"", "it's '#", 'c "#'), strategy=strategy)
    assert first.source != elsewhere.source != renamed.source and "elsewhere.py" in elsewhere.source
    assert first._kernel.text.code() == elsewhere._kernel.text.code() == renamed._kernel.text.code()
    assert first._kernel.module is elsewhere._kernel.module is renamed._kernel.module


def exec_in_another_file(make, strategy):
    """The same declarations and compilation, from lines of another file."""
    text = "\n\n\n" + inspect.getsource(make) + f"\n\n\nf = scg.compile({make.__name__}(*names), strategy=strategy)\n"
    names = {"scg": scg, "names": ("one", "theta", "b", "loss"), "strategy": strategy}
    exec(compile(text, "elsewhere.py", "exec"), names)
    return names["f"]


def of_numbers(number: float, table: list[float], **options):
    g = scg.Graph("numbers")
    t = g.param("t", 3)
    k = g.sample("k", scg.Categorical(logits=number * t))
    g.cost("c", (scg.take(np.array(table), k) - number) ** 2 + np.maximum(t, number).sum())
    return scg.compile(g, **options)


OTHER_NUMBERS = """
from tests.unit.test_cache import of_numbers
f = of_numbers(0.47, [0.1, 0.2, -0.7])
f({"t": [0.1, 0.2, 0.3]}, rng=0)
print(bool(f._kernel.function.stats.cache_hits))
"""


def test_other_numbers_are_the_same_code(folder):
    """They are arguments, so nothing is compiled: neither in this process nor in the next."""
    numbers, at = [(0.45, [0.3, 0.25, 0.75]), (0.46, [3.0, -0.3, 8.0])], {"t": [0.1, 0.2, 0.3]}
    one, other = (of_numbers(*given) for given in numbers)
    for f, given in zip((one, other), numbers):
        expected = of_numbers(*given, backend="numpy")(at, samples=64, rng=0)
        np.testing.assert_allclose(f(at, samples=64, rng=0).grad["t"], expected.grad["t"], rtol=1e-12)
    assert one._kernel.text.code() == other._kernel.text.code() and one._kernel.function is other._kernel.function
    assert len(one._kernel.function.signatures) == 1
    assert in_another_process(OTHER_NUMBERS, SCG_CACHE_DIR=str(folder)) == ["True"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_numbers_that_simplification_knows_stand_in_the_code(dtype):
    def code(number: float) -> str:
        return of_numbers(number, [0.3, 0.25, 0.75], dtype=dtype)._kernel.text.code()

    assert code(1.0) != code(0.45) == code(-7.5)
