"""The files of an export: whole or not there, replaced only where that is asked for, arrays known by their digest."""

from __future__ import annotations

import inspect
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

import scg
from scg.export import files
from scg.export import module as export
from scg.run import beside, example
from scg.source import without_imports
from tests.laws.checks.exported import compare_functions, with_the_kernel_of
from tests.laws.test_exports import loaded, same
from tests.unit.test_export import _code

pytestmark = pytest.mark.by_python


def table(size: int = 2000, name: str = "table") -> scg.Graph:
    """A graph that reads a random table."""
    g = scg.Graph(name)
    theta = g.param("theta")
    k = g.sample("k", scg.Categorical(logits=theta * np.arange(4.0)))
    g.cost("c", scg.take(np.random.default_rng(0).normal(size=(4, size // 4)), k).sum() * theta)
    return g


@pytest.fixture(scope="module")
def f():
    return scg.compile(table(), strategy=scg.ScoreFunction())


@pytest.fixture(scope="module")
def other():
    """Of another table."""
    return scg.compile(table(2400), strategy=scg.ScoreFunction())


@pytest.fixture(scope="module")
def home(f, tmp_path_factory):
    """Where `f` is exported, with values of one's own."""
    path = tmp_path_factory.mktemp("home") / "model.py"
    f.export(path, values={"theta": 0.7})
    return path


@pytest.fixture(scope="module")
def same_code(f, home):
    """The module there, which is the same code as what `f` calls."""
    module = loaded(home, "m")
    assert "chunk" in compare_functions(module, f._calls.kernel.module)
    return module


@pytest.fixture
def module(f, same_code, monkeypatch):
    """The same, with the kernel that Python runs."""
    monkeypatch.setattr(same_code, "chunk", f._calls.kernel.function)
    return same_code


AT = {"theta": 0.3}


def npz_of(path: Path) -> Path:
    (found,) = path.parent.glob("*.npz")
    return found


# --- arrays beside ----------------------------------------------------------------------------------------------------
def test_large_constants_lie_beside(f, home, module):
    text = home.read_text()
    assert npz_of(home).name.startswith("model-") and text.count("ARRAYS[") == 1
    assert max(map(len, text.splitlines())) < 1000 and npz_of(home).name in text.split('"""')[1]
    np.testing.assert_array_equal(module.CONST0, f._calls.kernel.text.constants["CONST0"])
    same(f(AT, samples=70, rng=1), module.estimate(AT, samples=70, rng=1))


def test_small_constants_do_not(tmp_path):
    scg.compile(table(40)).export(tmp_path / "small.py")
    assert [p.name for p in tmp_path.iterdir()] == ["small.py"]


def test_the_text_does_not_grow_with_a_table(tmp_path):
    sizes = []
    for size in (4_000, 40_000):
        kernel = scg.compile(table(size), strategy=scg.ScoreFunction(), stderr=False)._kernel
        texts, arrays = kernel.standalone()
        sizes.append(len(texts[-1][1]))
        assert [a.size for a in arrays.values()] == [size]
    assert abs(sizes[1] - sizes[0]) < 100


def _damage(content: bytes) -> list[bytes]:
    other, _ = beside.packed({"CONST0": np.zeros(2000)})
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    return [b"", content[:-1], content + b"\0", bytes(flipped), other, b"\x80\x04N."]


def test_damaged_and_foreign_arrays_are_errors(home, tmp_path, monkeypatch):
    shutil.copytree(home.parent, tmp_path, dirs_exist_ok=True)
    file = npz_of(tmp_path / "model.py")
    content = file.read_bytes()
    monkeypatch.setattr(np, "load", lambda *a, **k: pytest.fail("what is not known was interpreted"))
    for damaged in _damage(content):
        file.write_bytes(damaged)
        with pytest.raises(Exception, match=r"model.py: .*damaged, or another one.*Copy it anew") as caught:
            loaded(tmp_path / "model.py", "m")
        assert type(caught.value).__name__ == "SCGError"
    file.unlink()
    with pytest.raises(Exception, match=r"cannot be read.*Copy it there with the module"):
        loaded(tmp_path / "model.py", "m")


def test_objects_are_never_unpickled(tmp_path):
    content, digest = beside.packed({"CONST0": np.array([{}], dtype=object)})
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(scg.SCGError, match="cannot read it"):
        beside.arrays_beside(str(tmp_path / "a.py"), "a.npz", digest)


def test_another_export_leaves_the_arrays_of_copies(f, other, tmp_path):
    f.export(tmp_path / "model.py")
    (tmp_path / "copy.py").write_bytes((tmp_path / "model.py").read_bytes())
    other.export(tmp_path / "model.py", overwrite=True)
    assert loaded(tmp_path / "copy.py", "c").CONST0.size == 2000
    assert loaded(tmp_path / "model.py", "m").CONST0.size == 2400


# --- files ------------------------------------------------------------------------------------------------------------
def test_a_file_is_replaced_only_where_that_is_asked_for(f, tmp_path):
    path = tmp_path / "model.py"
    path.write_text("mine")
    with pytest.raises(scg.SCGError, match=r"test_export_files.py.*There is a file already.*overwrite=True"):
        f.export(path)
    assert path.read_text() == "mine" and [p.name for p in tmp_path.iterdir()] == ["model.py"]
    f.export(path, overwrite=True)
    assert "def estimate" in path.read_text()
    npz_of(path).write_bytes(b"damaged")
    f.export(path, overwrite=True)
    assert loaded(path, "m").LAYOUT.name == "table"


def test_a_folder_that_is_not_there(f, tmp_path):
    with pytest.raises(scg.SCGError, match=r"there is no folder '.*none'.*Make it first"):
        f.export(tmp_path / "none" / "model.py")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fails", ["fsync", "link", "replace"])
@pytest.mark.parametrize("number", [0, 1])
def test_whole_or_not_at_all(fails, number, f, other, tmp_path, monkeypatch):
    """Whatever fails, the module before it is as it was, and works."""
    path = tmp_path / "model.py"
    if fails == "replace":
        other.export(path)
    before, calls, done = path.exists() and path.read_bytes(), [], getattr(os, fails)

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) > number:
            raise FileExistsError if fails == "link" else OSError(28, "No space left on device")
        return done(*arguments)

    monkeypatch.setattr(files.os, fails, failing)
    with pytest.raises(scg.SCGError, match="No space left" if fails != "link" else "a file already"):
        f.export(path, overwrite=fails == "replace")
    assert len(calls) == number + 1 and not list(tmp_path.glob(".*"))
    assert (path.exists() and path.read_bytes()) == before
    assert not before or loaded(path, "m").CONST0.size == 2400


def test_what_is_no_file_is_not_replaced(f, tmp_path):
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "folder.py").mkdir()
    for name in ("pipe.py", "folder.py"):
        with pytest.raises(scg.SCGError, match="no file, but a folder or a device"):
            f.export(tmp_path / name, overwrite=True)


def test_a_link_stays_one(f, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "model.py").symlink_to(tmp_path / "real" / "model.py")
    f.export(tmp_path / "model.py")
    assert (tmp_path / "model.py").is_symlink() and npz_of(tmp_path / "real" / "model.py")
    assert loaded(tmp_path / "real" / "model.py", "m").CONST0.size == 2000


# --- what it does -----------------------------------------------------------------------------------------------------
def test_the_module_holds_the_text_of_the_package(f, home, same_code):
    text = home.read_text()
    for host in (*export.HOST, beside):
        assert without_imports(inspect.getsource(host)) in text, host.__name__
    ours, theirs = (inspect.signature(g).parameters for g in (f.__call__, same_code.estimate))
    assert [(p.name, p.kind, p.default) for p in theirs.values() if p.name != "values"] == [
        (p.name, p.kind, p.default) for p in ours.values() if p.name not in ("values", "record")]
    told = inspect.getdoc(same_code.estimate)
    assert "executor : concurrent.futures.Executor, optional" in told and "record" not in told and "node" not in told


def test_values_of_ones_own(f, module, tmp_path, capsys, monkeypatch):
    assert module.EXAMPLE.values == {"theta": 0.7}
    module.self_check()
    assert capsys.readouterr().out == "self-check passed\n"
    with pytest.raises(Exception, match=r'r.cost, r.costs\["c"\], r.grad\["theta"\]'):
        _off_by_a_millionth(module, monkeypatch)
    for wrong in ({}, {"theta": np.nan}, {"theta": 0.7, "q": 1.0}, 3):
        with pytest.raises(scg.CallError):
            f.export(tmp_path / "wrong.py", values=wrong)
    assert not (tmp_path / "wrong.py").exists()


def _off_by_a_millionth(module, monkeypatch) -> None:
    """The self-check of a module whose estimates are wrong."""
    right = module.estimate

    def off(*arguments, **options):
        r = right(*arguments, **options)
        r._merged = module.Merged(r._merged.mean * (1.0 + 1e-6), r._merged.variance, False)
        return r

    monkeypatch.setattr(module, "estimate", off)
    module.self_check()


def test_large_values_lie_beside(tmp_path):
    g = scg.Graph("rows")
    t, x = g.param("t", 3), g.data("x", 3)
    g.cost("c", ((x * t).sum() - g.sample("b", scg.Bernoulli(logits=t[0]))) ** 2)
    f = scg.compile(g)
    values = {"t": np.arange(3.0), "x": np.random.default_rng(0).normal(size=(500, 3))}
    f.export(tmp_path / "model.py", values=values)
    module = with_the_kernel_of(f, loaded(tmp_path / "model.py", "m"))
    np.testing.assert_equal(dict(module.EXAMPLE.values), values)
    module.self_check()
    assert max(map(len, (tmp_path / "model.py").read_text().splitlines())) < 2000


def test_recorded_values(f, tmp_path):
    f.export(tmp_path / "model.py", record=("k", "theta"))
    recorder = f._recorder(("k", "theta"))
    module = with_the_kernel_of(recorder, loaded(tmp_path / "model.py", "m"))
    ours = f(AT, samples=70, rng=3, record=("k", "theta"))
    same(ours, module.estimate(AT, samples=70, rng=3))
    assert set(ours.record) == {"k", "theta"} and "r.record['k']" in module.__doc__
    with pytest.raises(scg.SCGError, match="nobody"):
        f.export(tmp_path / "other.py", record="nobody")


def test_it_says_what_it_estimates_and_how_it_is_called(f, module):
    for words in ("E[c]", 'site "k": ScoreFunction', "'theta': a param, a number", "from model import estimate"):
        assert words in module.__doc__
    assert all(line.strip() in " ".join(module.__doc__.split()) for line in (
        " ".join(line.split()) for line in str(f.surrogate).splitlines()))
    (call,) = (line for line in module.__doc__.splitlines() if "estimate({" in line)
    scope = dict(vars(module))
    exec(call.strip().replace("r = ", "found = ").replace("1000", "10"), scope)
    same(f({"theta": 0.5}, samples=10, rng=0), scope["found"])


def test_an_unpickled_function_tells_the_same(f, tmp_path):
    f.export(tmp_path / "model.py")
    text = (tmp_path / "model.py").read_text()
    pickle.loads(pickle.dumps(f)).export(tmp_path / "model.py", overwrite=True)
    assert (tmp_path / "model.py").read_text() == text


@pytest.mark.parametrize("value, found, close", [
    (1.0, 1.0 + 1e-12, True), (1.0, 1.0 + 1e-6, False), (0.0, 1e-14, True), (1e-30, 2e-30, False),
    (1.0, np.nan, False)])  # fmt: skip
def test_what_counts_as_the_same(value, found, close):
    known = example.Known(np.array(value), abs(value))
    assert example._is_close(np.array(found), known, 1e-9) == close


@pytest.mark.parametrize("name", ["a\nimport os", '"""\n', "'", "\\", "{x}", "a\u2028b", "x" * 100, "\udcff", "é", "1"],
                         ids=ascii)
def test_names_of_files_are_no_code(name, f, tmp_path):
    """What runs of the module is what runs of a plainly named one, but for the name of its file."""
    named, plain = (export.module_of(f, each, None) for each in (name, "plain"))
    assert _code(named.text) == _code(plain.text)
    assert named.beside == f"{name}-{plain.beside.removeprefix('plain-')}"
    if name in "'é":
        f.export(tmp_path / f"{name}.py")
        assert loaded(tmp_path / f"{name}.py", "m").CONST0.size == 2000
