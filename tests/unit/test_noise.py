"""The noise contract: its definition against published numbers, the backends against the definition, its quality."""

import ast
import importlib.util
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numba import njit
from scg_numba import element_noise, pipeline, running
from scg_numba import noise as compiled
from scg_numpy import noise as reference

from scg import noise

KEY = noise.key(7, "model/b")
BOTH = pytest.mark.parametrize("dtype", [np.float64, np.float32])
GRAINS = pytest.mark.parametrize("fine", [False, True], ids=["coarse", "fine"])


def fill(out, key, r0, element, step, draw, fine):
    f = compiled.fill_uniform_fine if fine else compiled.fill_uniform
    f(out, *key, r0, element, step, draw)
    return out


def random_places(n, seed=0):
    """Draws over the whole range of each coordinate, every order of magnitude of it as often as any other."""
    rng = np.random.default_rng(seed)
    limits = (noise.REPLICATES, noise.ELEMENTS, noise.STEPS, noise.DRAWS - 1)
    return [
        tuple(int(rng.integers(0, 1 << int(rng.integers(1, limit.bit_length())))) % limit for limit in limits)
        for _ in range(n)
    ]


# --- Philox -------------------------------------------------------------------------------------------------------

KNOWN_ANSWERS = [  # of Random123: counter, key, output
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize("counter, key, output", KNOWN_ANSWERS)
def test_known_answers(counter, key, output):
    counter, key, output = ([int(w, 16) for w in words.split()] for words in (counter, key, output))
    assert noise.philox(tuple(counter), tuple(key)) == tuple(output)

    # The same through the public functions, by the replicates that have this counter.
    q = counter[0] | (counter[3] >> 24) << 32
    r = [64 * (q // 16) + 16 * i + q % 16 for i in range(4)]
    where = (counter[1], counter[2], counter[3] % 2**24)
    assert [noise.word(key, i, *where) for i in r] == output
    assert list(reference.words(key, r, *where)) == output
    assert [compiled.word_at(*key, i, *where) for i in r] == output


def test_layout():
    """A block of 64 replicates is 16 counters by 4 words, each word on 16 consecutive replicates."""
    for block in (0, 5, (1 << 36) - 1):
        places = [noise.counter_of(64 * block + i, 1, 2, 3) for i in range(64)]
        assert [index for _, index in places] == [0] * 16 + [1] * 16 + [2] * 16 + [3] * 16
        q = [counter[0] | counter[3] >> 24 << 32 for counter, _ in places]
        assert q == [16 * block + i for i in range(16)] * 4
        assert all(counter[1:3] == (1, 2) and counter[3] % 2**24 == 3 for counter, _ in places)
    assert noise.counter_of(noise.REPLICATES - 1, 0, 0, 0) == ((2**32 - 1, 0, 0, 255 << 24), 3)


@pytest.mark.parametrize(
    "bad", [(1 << 42, 0, 0, 0), (0, 1 << 32, 0, 0), (0, 0, 1 << 32, 0), (0, 0, 0, 1 << 24), (-1, 0, 0, 0)]
)
def test_out_of_range(bad):
    with pytest.raises(ValueError, match="must be in"):
        noise.word(KEY, *bad)
    with pytest.raises(ValueError, match="must be in"):
        reference.words(KEY, *bad)


# --- keys and seeds -----------------------------------------------------------------------------------------------


def test_mix64_is_splitmix64():
    """The first outputs of splitmix64 with seed 1234567, as published with its C code's many ports."""
    outputs = [noise.mix64(1234567 + i * 0x9E3779B97F4A7C15) for i in range(1, 6)]
    assert outputs == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip


def test_mix64_is_a_bijection():
    def unmix(x):
        for shift, multiplier in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
            x ^= (x >> shift) ^ (x >> 2 * shift)
            x = x * pow(multiplier, -1, 2**64) % 2**64
        return x

    for x in [0, 1, 2**64 - 1, *(int(i) for i in np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64))]:
        assert unmix(noise.mix64(x)) == x


def test_keys_are_pinned():
    """Results that users keep are addressed by these numbers: they never change."""
    assert noise.h64("b") == 0x754F854DE3C27284
    assert noise.h64("layer/0/β") == 0x105F7321CD7D0D9
    assert noise.key(0, "b") == (0x5277AA10, 0x69F395EB)
    assert noise.key(2**64 - 1, "layer/0/β") == (0x9C63FC42, 0x372D0394)
    key = noise.key(1, "b")
    assert noise.uniform(key, 63, 1, 2, 3) == 0.028958161012269557
    assert noise.uniform(key, 63, 1, 2, 3, fine=True) == 0.028958162658034747
    assert noise.uniform(key, 63, 1, 2, 3, dtype="float32") == 0.028958141803741455


def test_key_formula():
    for seed in (0, 1, 2**64 - 1):
        low, high = noise.key(seed, "a/b")
        assert low | high << 32 == noise.mix64(noise.mix64(seed) ^ noise.h64("a/b"))
        assert (low, high) == noise.key(seed, noise.h64("a/b"))
    with pytest.raises(ValueError, match="seed_of"):
        noise.key(-1, "a/b")
    with pytest.raises(ValueError, match="seed_of"):
        noise.key(2**64, "a/b")


def test_keys_of_a_kernel():
    for paths in (("b", "a/b", "layer/0/β", "h[3]"), ("b",)):
        layout = SimpleNamespace(hashes=[noise.h64(p) for p in paths])
        for seed in (0, 1, 2**63, 2**64 - 1):
            found = running._keys(seed, layout).reshape(-1, 2).tolist()
            assert [tuple(pair) for pair in found] == [noise.key(seed, h) for h in layout.hashes]
    assert running._keys(1, SimpleNamespace(hashes=())).shape == (0,)


@pytest.mark.parametrize("streams", [0, 1, 3])
def test_keys_of_a_prepared_call(streams):
    paths = ["b", "c/1", "site"][:streams]
    workspace = running.Workspace([])
    keys, words, _ = workspace.prepare([noise.h64(path) for path in paths])
    for seed in (0, 1, 2**63, 2**64 - 1, 12345, 12345):
        keys[streams] = seed
        compiled.set_keys(keys)
        assert words[: 2 * streams].tolist() == [word for path in paths for word in noise.key(seed, path)]


def test_collisions(monkeypatch):
    noise.check_collisions([])
    noise.check_collisions(f"site{i}" for i in range(1000))
    with pytest.raises(ValueError, match="'a' and 'a'"):
        noise.check_collisions(["a", "b", "a"])
    monkeypatch.setattr(noise, "h64", len)
    with pytest.raises(ValueError, match="'bb' and 'cc'"):
        noise.check_collisions(["a", "bb", "cc"])


def test_seed_of_int(monkeypatch):
    monkeypatch.setattr(noise, "np", None)  # cheap: without NumPy
    for i in (0, 1, 2**32, 2**64 - 1):
        assert noise.seed_of(i) == i
    others = [-1, -2, 2**64, 2**64 + 1, -(2**63), -(2**64), 10**30, -(10**30), 2**100_000]
    seeds = [noise.seed_of(i) for i in others]
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert len({*seeds, 0, 1, 2**64 - 1, 2**64 - 2}) == len(others) + 4
    assert seeds[0] == 0x91BF0C83D9EE2EA7 and seeds[2] == 0x5A5DE2B864517764
    assert [noise.seed_of(seed) for seed in seeds] == seeds


def test_seed_of_numpy_int():
    assert noise.seed_of(np.int8(5)) == 5
    assert noise.seed_of(np.uint64(2**64 - 1)) == 2**64 - 1
    assert noise.seed_of(np.int64(-1)) == noise.seed_of(-1)
    assert type(noise.seed_of(np.uint64(3))) is int


def test_seed_of_none():
    assert len({noise.seed_of() for _ in range(100)}) == 100
    assert 0 <= noise.seed_of(None) < 2**64


def test_seed_of_seed_sequence():
    sequence = np.random.SeedSequence(5)
    seed = noise.seed_of(sequence)
    assert type(seed) is int and seed == noise.seed_of(sequence) == noise.seed_of(np.random.SeedSequence(5))
    assert len({seed, *(noise.seed_of(child) for child in sequence.spawn(50))}) == 51


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "Philox", "SFC64", "MT19937"])
def test_seed_of_generator_draws_once(kind):
    ours, theirs = (np.random.Generator(getattr(np.random, kind)(3)) for _ in range(2))
    first, second = noise.seed_of(ours), noise.seed_of(ours)
    words = 2 if kind == "MT19937" else 1  # its raw words have 32 bits
    assert type(first) is int and first != second and 0 <= first < 2**64
    if words == 1:
        assert [first, second] == [theirs.bit_generator.random_raw() for _ in range(2)]
    else:
        theirs.bit_generator.random_raw(2 * words)
    assert ours.integers(0, 2**60, 8).tolist() == theirs.integers(0, 2**60, 8).tolist()


@pytest.mark.parametrize("bad", [True, False, np.True_, 1.0, "1", [1], np.array(1), np.random.RandomState(0)])
def test_seed_of_refuses(bad):
    with pytest.raises(TypeError, match=rf"rng must be None, an integer.*not {type(bad).__name__}"):
        noise.seed_of(bad)


# --- the backends agree with the definition -----------------------------------------------------------------------


def test_words_at_random_places():
    places = random_places(400)
    expected = [noise.word(KEY, *place) for place in places]
    assert any(place[0] >= 1 << 34 for place in places)  # the upper 8 bits of q
    assert reference.words(KEY, *zip(*places, strict=True)).tolist() == expected
    assert [compiled.word_at(*KEY, *place) for place in places] == expected


@BOTH
@GRAINS
def test_uniforms_at_random_places(dtype, fine):
    places = random_places(400, seed=1)
    expected = [noise.uniform(KEY, *place, fine, np.dtype(dtype).name) for place in places]
    got = reference.uniform(KEY, *zip(*places, strict=True), fine, dtype)
    assert got.dtype == dtype and got.tolist() == expected
    if dtype == np.float64:
        assert [compiled.uniform_at(*KEY, *place, fine) for place in places] == expected
    else:
        assert [compiled.uniform_at_f32(*KEY, *place) for place in places] == expected


@BOTH
@GRAINS
@pytest.mark.parametrize("r0", [0, 64, 6400, (1 << 36) - 128, (1 << 40) + 64, (1 << 42) - 1024])
def test_fill(dtype, fine, r0):
    """Tiles, also one across the carry of q into its upper bits; the element and the step have all bits set."""
    where = (2**32 - 1, 2**32 - 2, 2**24 - 2)
    expected = reference.uniform(KEY, r0 + np.arange(1024), *where, fine, dtype)
    got = fill(np.empty(1024, dtype), KEY, r0, *where, fine)
    assert got.tolist() == expected.tolist()


@GRAINS
def test_fill_in_float32_ignores_fine(fine):
    coarse = fill(np.empty(64, np.float32), KEY, 0, 1, 2, 3, False)
    assert fill(np.empty(64, np.float32), KEY, 0, 1, 2, 3, fine).tolist() == coarse.tolist()


def test_fill_needs_no_lanes_and_writes_only_its_own():
    buffer = np.full(64 + 128 + 64, -1.0)
    compiled.fill_uniform(buffer[64:192], *KEY, 0, 0, 0, 0)
    compiled.fill_uniform(buffer[:0], *KEY, 0, 0, 0, 0)
    assert (buffer[:64] == -1).all() and (buffer[192:] == -1).all() and (buffer[64:192] > 0).all()


@BOTH
@GRAINS
def test_fill_range(dtype, fine):
    lanes = reference.uniform(KEY, np.arange(1 << 36, (1 << 36) + 512), 5, 6, 7, fine, dtype)
    scratch = np.empty(64, dtype)
    for start in (0, 1, 17, 63, 64, 65, 127):
        for n in (0, 1, 2, 47, 62, 63, 64, 65, 128, 129, 200, 320):
            buffer = np.full(n + 2, -1, dtype)
            compiled.fill_uniform_range(buffer[1 : n + 1], scratch, *KEY, (1 << 36) + start, 5, 6, 7, fine)
            assert buffer[1 : n + 1].tolist() == lanes[start : start + n].tolist(), (start, n)
            assert buffer[0] == buffer[-1] == -1


@BOTH
@GRAINS
@pytest.mark.parametrize("r", [0, 17, 63, (1 << 36) + 70])
def test_fill_elements(dtype, fine, r):
    """Of one lane all elements: also of the last lane of a block, and where few are filled."""
    kind = element_noise.fill_elements_fine if fine else element_noise.fill_elements_coarse
    for n in (0, 1, 77):
        buffer = np.full(n + 2, -1, dtype)
        kind(buffer[1 : n + 1], *KEY, r, 5, 6, 7)
        assert buffer[1 : n + 1].tolist() == reference.uniform(KEY, r, 5 + np.arange(n), 6, 7, fine, dtype).tolist()
        assert buffer[0] == buffer[-1] == -1
    kind = element_noise.fill_rows_fine if fine else element_noise.fill_rows_coarse
    kind(rows := np.empty(40, dtype), *KEY, r, 13, 5, 6, 7)
    assert rows.tolist() == reference.uniform(KEY, r + 13 * np.arange(40), 5, 6, 7, fine, dtype).tolist()


def test_draws_do_not_depend_on_tiles():
    whole = fill(np.empty(4096), KEY, 0, 1, 2, 3, False)
    for width in (64, 192, 1024):
        parts = [fill(np.empty(width), KEY, r0, 1, 2, 3, False) for r0 in range(0, 4096 - width, width)]
        assert np.concatenate(parts).tolist() == whole[: width * len(parts)].tolist()


def test_numpy_broadcasts():
    r, element, step = np.arange(70), np.arange(3, dtype=np.uint8)[:, None], np.arange(2)[:, None, None]
    got = reference.words(KEY, r, element, step, 4)
    assert got.shape == (2, 3, 70) and got.dtype == np.uint32
    for where in [(0, 0, 0), (1, 2, 69), (1, 0, 17)]:
        assert got[where] == noise.word(KEY, where[2], where[1], where[0], 4)
    assert reference.words(KEY, np.arange(0), element, 0, 0).shape == (3, 0)
    assert reference.uniform(KEY, 5, 0, 0, 0).shape == ()
    # `draw + 1` must not wrap around in the array's own type
    assert reference.uniform(KEY, 5, 0, 0, np.uint8([255]), True)[0] == noise.uniform(KEY, 5, 0, 0, 255, True)


def test_numpy_refuses():
    with pytest.raises(TypeError, match="r must hold integers"):
        reference.words(KEY, 0.5, 0, 0, 0)
    with pytest.raises(TypeError, match="float32 or float64"):
        reference.uniform(KEY, 0, 0, 0, 0, False, np.float16)
    last = noise.DRAWS - 1
    reference.uniform(KEY, 0, 0, 0, last)
    with pytest.raises(ValueError, match="draw must be in"):
        reference.uniform(KEY, 0, 0, 0, last, True)


# --- inside kernels -----------------------------------------------------------------------------------------------

FASTMATH = {"contract", "nsz", "reassoc", "arcp"}


@njit(nogil=True, error_model="numpy", fastmath=FASTMATH)
def kernel(k0, k1, tiles, width):
    """As emitted kernels call it: literals for coordinates, rows of a buffer, fast-math flags that must not leak."""
    u = np.empty((3, width))
    lane = np.empty((2, width))
    out = np.empty((5, tiles * width))
    for tile in range(tiles):
        r0 = tile * width
        compiled.fill_uniform(u[0], k0, k1, r0, 0, 0, 0)
        compiled.fill_uniform(u[1], k0, k1, r0, 1, 0, 0)
        compiled.fill_uniform_fine(u[2], k0, k1, r0, 1, tile, 1)
        for i in range(width):
            lane[0, i] = compiled.uniform_at(k0, k1, r0 + i, 2, 0, 0, False)
            lane[1, i] = compiled.uniform_at(k0, k1, r0 + i, 2, 0, 1, True)
        out[:3, r0 : r0 + width] = u
        out[3:, r0 : r0 + width] = lane
    return out


@pytest.mark.parametrize("convert", [int, pytest.param(np.uint32, marks=pytest.mark.full), np.uint64])
def test_in_a_kernel(convert):
    got = kernel(convert(KEY[0]), convert(KEY[1]), 3, 128)
    r = np.arange(384)
    expected = [
        reference.uniform(KEY, r, 0, 0, 0),
        reference.uniform(KEY, r, 1, 0, 0),
        reference.uniform(KEY, r, 1, r // 128, 1, True),
        reference.uniform(KEY, r, 2, 0, 0),
        reference.uniform(KEY, r, 2, 0, 1, True),
    ]
    assert got.tolist() == np.array(expected).tolist()


def test_literals_do_not_multiply_compilations():
    """One compilation per dtype, whatever literals and integer types the calls have."""
    kernel(*KEY, 1, 64)
    for core in (compiled._fill_coarse, compiled._fill_fine):
        assert len(core.signatures) <= 2
        assert {str(kind) for _, *coordinates in core.signatures for kind in coordinates} <= {"uint64"}


def test_the_text_stands_alone(tmp_path):
    """It is pasted into exported modules, behind the options: NumPy and Numba are all that the two import."""
    head, noise_text = (Path(module.__file__).read_text(encoding="utf-8") for module in (pipeline, compiled))
    text = head + noise_text.replace("from scg_numba.pipeline import OPTIONS\n", "")
    modules = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    assert {module.split(".")[0] for module in modules} == {"numpy", "numba"}

    path = tmp_path / "standalone.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("standalone", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out = np.empty(64)
    module.fill_uniform(out, *KEY, 0, 1, 2, 3)
    assert out.tolist() == fill(np.empty(64), KEY, 0, 1, 2, 3, False).tolist()


# --- formats ------------------------------------------------------------------------------------------------------


@pytest.fixture
def extreme(monkeypatch):
    """Replace the words by given ones, draw by draw, in the definition and in the NumPy backend."""

    def replace(*words):
        monkeypatch.setattr(noise, "word", lambda key, r, element, step, draw: words[int(draw)])
        monkeypatch.setattr(reference, "words", lambda key, r, element, step, draw: np.uint32([words[int(draw)]]))

    return replace


WORDS = [0, 1, 63, 64, 511, 512, 0x12345678, 2**31 - 1, 2**31, 2**32 - 513, 2**32 - 512, 2**32 - 2, 2**32 - 1]


@njit
def to_numbers(words, lows, out64, out32, fine64):
    for i in range(words.size):
        out64[i] = compiled._coarse64(words[i])
        out32[i] = compiled._coarse32(words[i])
        fine64[i] = compiled._fine64(compiled._high64(words[i]), lows[i])


@BOTH
@GRAINS
def test_open_and_symmetric(extreme, dtype, fine):
    """0 < u < 1, and the complement of the words gives 1 − u exactly, at both ends and in between."""
    name = np.dtype(dtype).name
    one = np.dtype(dtype).type(1)
    for w in WORDS:
        for low in WORDS if fine else [0]:
            extreme(w, low)
            u = noise.uniform(KEY, 0, 0, 0, 0, fine, name)
            array_u = reference.uniform(KEY, 0, 0, 0, 0, fine, dtype)[0]
            extreme(w ^ 0xFFFFFFFF, low ^ 0xFFFFFFFF)
            complement = noise.uniform(KEY, 0, 0, 0, 0, fine, name)
            assert u == array_u and array_u.dtype == dtype
            assert 0 < u < 1 and float(one - array_u) == complement and 1 - complement == u
            assert math.isfinite(math.log(u)) and math.isfinite(math.log1p(-u))


def test_ends():
    """The smallest numbers are half a step, in each format; compiled code agrees, whatever is in the upper half."""
    words = np.array([0, 2**32 - 1, 0], np.uint64)
    lows = np.array([0, 2**32 - 1, 64], np.uint64)
    for junk in (0, 0xDEADBEEF << 32):
        a, b, c = np.empty(3), np.empty(3, np.float32), np.empty(3)
        to_numbers(words | np.uint64(junk), lows | np.uint64(junk), a, b, c)
        assert a.tolist() == [2.0**-33, 1 - 2.0**-33, 2.0**-33]
        assert b.tolist() == [2.0**-24, 1 - 2.0**-24, 2.0**-24]
        assert c.tolist() == [2.0**-53, 1 - 2.0**-53, 1.5 * 2.0**-52]


def test_compiled_formats():
    rng = np.random.default_rng(0)
    words = np.concatenate([np.uint64(WORDS), rng.integers(0, 2**32, 10_000, dtype=np.uint64)])
    lows = rng.permutation(words)
    a, b, c = np.empty(words.size), np.empty(words.size, np.float32), np.empty(words.size)
    to_numbers(words, lows, a, b, c)
    for w, low, u64, u32, fine in zip(words.tolist(), lows.tolist(), a.tolist(), b.tolist(), c.tolist(), strict=True):
        assert u64 * 2**33 == 2 * w + 1
        assert u32 * 2**24 == 2 * (w >> 9) + 1
        assert fine * 2.0**53 == 2 * (w >> 6 << 26 | low >> 6) + 1


# --- quality ------------------------------------------------------------------------------------------------------


def z_of_chi_square(counts):
    expected = counts.sum() / counts.size
    chi2 = ((counts - expected) ** 2 / expected).sum()
    df = counts.size - 1
    return (chi2 - df) / math.sqrt(2 * df)


def test_bytes_are_uniform():
    """Each byte of the words, and each output word by itself, over replicates, elements, steps and draws."""
    i = np.arange(1 << 18)
    for where in [(i, 0, 0, 0), (0, i, 0, 0), (0, 0, i, 0), (0, 0, 0, i), (i % 64, i // 64 % 64, i // 4096, 1)]:
        data = reference.words(KEY, *where).view(np.uint8).reshape(-1, 4)
        for byte in range(4):
            assert abs(z_of_chi_square(np.bincount(data[:, byte], minlength=256))) < 5


def test_pairs_of_neighbours_are_uniform():
    """Top 4 bits of neighbours along each coordinate: no cell of the 16 × 16 table stands out."""
    r = np.arange(1 << 17)
    base = reference.words(KEY, r, 5, 6, 7) >> 28
    for other in [(r + 1, 5, 6, 7), (r + 16, 5, 6, 7), (r + 64, 5, 6, 7), (r, 6, 6, 7), (r, 5, 7, 7), (r, 5, 6, 8)]:
        pair = base * np.uint32(16) + (reference.words(KEY, *other) >> 28)
        assert abs(z_of_chi_square(np.bincount(pair, minlength=256))) < 5


@GRAINS
def test_streams_are_uncorrelated(fine):
    """Elements, steps, draws, sites and seeds: correlations of a few hundred pairs of streams look like noise."""
    n = 1 << 13
    r = np.arange(n)
    step = 2 if fine else 1  # consecutive fine numbers take two draws each
    streams = [
        *(reference.uniform(KEY, r, i, 0, 0, fine) for i in range(6)),
        *(reference.uniform(KEY, r, 0, i, 0, fine) for i in range(1, 6)),
        *(reference.uniform(KEY, r, 0, 0, step * i, fine) for i in range(1, 6)),
        *(reference.uniform(noise.key(7, f"b{i}"), r, 0, 0, 0, fine) for i in range(5)),
        *(reference.uniform(noise.key(i, "model/b"), r, 0, 0, 0, fine) for i in range(5)),
        reference.uniform(KEY, r + n, 0, 0, 0, fine),
    ]
    for transform in (lambda u: u, lambda u: (u - 0.5) ** 2):
        z = np.corrcoef([transform(u) for u in streams])[np.triu_indices(len(streams), 1)] * math.sqrt(n)
        assert np.abs(z).max() < 5 and abs((z**2).mean() - 1) < 5 * math.sqrt(2 / z.size)


@BOTH
@GRAINS
def test_moments(dtype, fine):
    u = fill(np.empty(1 << 18, dtype), KEY, 0, 0, 0, 0, fine).astype(np.float64)
    for power, mean in ((1, 1 / 2), (2, 1 / 3), (4, 1 / 5)):
        assert abs((u**power).mean() - mean) < 5 * (u**power).std() / 512
