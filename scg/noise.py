"""The noise contract: noise is a function, not a state.

This module owns the definition of the random numbers of `scg`, in plain Python integers. It is slow and it is the
reference: `scg_numpy.noise` and `scg_numba.noise` compute the same function fast, and the tests hold them to this text.

A uniform number is a pure function of six things, so it does not depend on tiles, threads, backend, the order of
evaluation or on which other sites a graph has, and two strategies under one seed share their noise:

=========  =========  ==========================================================================================
name       range      meaning
=========  =========  ==========================================================================================
seed       [0, 2⁶⁴)   of the call; `seed_of` makes it from whatever the user passed as `rng=`
path       text       of the site: its unique name in the graph, with its scope
r          [0, 2⁴²)   replicate: ``row * samples + k`` (``k`` alone for a site that all rows share)
element    [0, 2³²)   flat index in the site's event shape
step       [0, 2³²)   of a scan; 0 outside
draw       [0, 2²⁴)   running number of what one element consumes: worlds of a replay, trials of a rejection sampler
=========  =========  ==========================================================================================

**Generator.** Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011): a bijection of 4 × 32 bits of counter, keyed by 2 × 32.

**Key.** ``mix64(mix64(seed) ^ h64(path))``, low half first. `mix64` is a bijection, so two sites whose `h64` differ
never share a key under one seed; that the `h64` of a graph's paths differ is checked when it is compiled
(`check_collisions`).

**Counter.** ``(q mod 2³², element, step, (q div 2³²) · 2²⁴ + draw)`` with ``q = 16 · (r div 64) + r mod 16``; the
replicate takes the output word ``(r mod 64) div 16``. A block of 64 consecutive replicates is thus 16 consecutive
counters, and word i of those lands on 16 consecutive replicates: what a vector unit stores in one piece.

**Uniforms.** With w the 32-bit word of the draw, and w′ that of draw + 1:

=========  ========  =======  ==============================================================
precision  dtype     draws    u
=========  ========  =======  ==============================================================
coarse     float64   1        ``(w + ½) · 2⁻³²``
coarse     float32   1        ``(w div 2⁹ + ½) · 2⁻²³``
fine       float64   2        ``(k + ½) · 2⁻⁵²`` with ``k = 2²⁶ · (w div 2⁶) + w′ div 2⁶``
fine       float32   2        as coarse; draw + 1 is left unused, so that streams line up across dtypes
=========  ========  =======  ==============================================================

Every u is exact in its dtype, lies in the open interval (0, 1), and 1 − u is exact and as likely as u: ``log(u)`` and
``log1p(-u)`` are finite, and antithetic noise is the complement of the words. Fine is for inverting continuous
distributions and counts, where the lattice and the tails would show. Fine uniforms of sampling loops (`draw_until`) are
those of float64 in every dtype.

**Discrete draws.** A choice among finitely many values (`below`, `category`) compares probabilities with the number
U = 0.w₀w₁w₂…, whose binary digits are the words of draws 0, 1, 2, …: as many of them as the comparison needs. So a
value is drawn with its probability, however small. One word nearly always decides, and then the coarse uniform decides
alike: backends compare that one, and look at further words only where it falls next to a probability. Probabilities
above ½ are measured from 1, by what is left of them: there small ones are exact too.
"""

import bisect
import hashlib
import math
import os
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from numbers import Integral

import numpy as np

__all__ = [
    "DRAWS", "ELEMENTS", "PHILOX_MULTIPLIERS", "PHILOX_ROUNDS", "PHILOX_WEYL", "REPLICATES", "STEPS", "WORDS",
    "below", "category", "check_collisions", "counter_of", "h64", "key", "mix64", "philox", "seed_of", "uniform",
    "word",
]  # fmt: skip

PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
"""Multipliers of counter words 0 and 2."""
PHILOX_WEYL = (0x9E3779B9, 0xBB67AE85)
"""What the two key words grow by from round to round: the golden ratio and √3 − 1."""
PHILOX_ROUNDS = 10

REPLICATES = 1 << 42
"""How many replicates a call can address (``rows * samples``)."""
ELEMENTS = 1 << 32
STEPS = 1 << 32
DRAWS = 1 << 24
WORDS = 34
"""Words after which every float64 probability is told from U, or equal to it."""

_M32 = (1 << 32) - 1
_M64 = (1 << 64) - 1


# --- seeds and keys -----------------------------------------------------------------------------------------------


def mix64(x: int) -> int:
    """Scramble 64 bits: the finaliser of splitmix64, a bijection of [0, 2⁶⁴).

    Parameters
    ----------
    x : int
        Taken modulo 2⁶⁴.

    Returns
    -------
    int
        In [0, 2⁶⁴). ``mix64(0) == 0``.
    """
    x &= _M64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _M64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _M64
    return x ^ (x >> 31)


def h64(path: str) -> int:
    """Hash a site's path: its BLAKE2b digest of 8 bytes (UTF-8 in, little endian out).

    Python's own `hash` would not do: it differs from process to process.
    """
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "little")


def key(seed: int, path: str | int) -> tuple[int, int]:
    """Philox key of a site: the two 32-bit halves of ``mix64(mix64(seed) ^ h64(path))``, low half first.

    Parameters
    ----------
    seed : int
        In [0, 2⁶⁴), see `seed_of`.
    path : str or int
        The site's path, or its `h64` where that is at hand already (a compiled function keeps it).
    """
    if not 0 <= seed <= _M64:
        raise ValueError(f"seed must be in [0, 2**64), got {seed}; seed_of() reduces any integer to that range")
    mixed = mix64(mix64(seed) ^ (h64(path) if isinstance(path, str) else path))
    return mixed & _M32, mixed >> 32


def check_collisions(paths: Iterable[str]) -> None:
    """Raise ValueError if two of the paths would share their noise, that is, have the same `h64`.

    A path listed twice is such a pair. Among n different ones the chance is about n² / 2⁶⁵.
    """
    seen: dict[int, str] = {}
    for path in paths:
        code = h64(path)
        if code in seen:
            raise ValueError(
                f"the paths {seen[code]!r} and {path!r} have the same 64-bit hash {code:#018x}, so that these sites "
                f"would draw the same noise; rename one of them"
            )
        seen[code] = path


def seed_of(rng: object = None) -> int:
    """Reduce what the user passed as ``rng=`` (SPEC 7) to a seed in [0, 2⁶⁴).

    Parameters
    ----------
    rng : None, int, numpy.random.SeedSequence or numpy.random.Generator
        - None: 64 bits of fresh entropy from the operating system.
        - an integer (Python's or NumPy's) in [0, 2⁶⁴): itself, so that ``seed_of(seed_of(x)) == seed_of(x)`` and the
          seed that a result reports repeats the call. Any other integer is hashed (BLAKE2b, 8 bytes, of its shortest
          little-endian two's complement), rather than reduced modulo 2⁶⁴, so −1 and 2⁶⁴ − 1 are different seeds.
        - a SeedSequence: its first 64-bit word of state; the sequence is not changed, so twice the same is the same.
        - a Generator: one 64-bit draw, by which it advances; twice the same is two seeds.

    Raises
    ------
    TypeError
        For anything else, bool included: ``rng=True`` is a slip, not seed 1.
    """
    if type(rng) is int:  # first, and without NumPy: a SeedSequence alone would cost as much as a small call
        return rng if 0 <= rng <= _M64 else _hash_int(rng)
    if rng is None:
        return int.from_bytes(os.urandom(8), "little")
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(0, _M64, endpoint=True, dtype=np.uint64))  # the full range: no rejection, one draw
    if isinstance(rng, np.random.SeedSequence):
        return int(rng.generate_state(1, np.uint64)[0])
    if isinstance(rng, Integral) and not isinstance(rng, bool):
        return seed_of(int(rng))
    raise TypeError(
        f"rng must be None, an integer, a numpy.random.SeedSequence or a numpy.random.Generator, "
        f"not {type(rng).__name__} ({rng!r:.60})"
    )


def _hash_int(value: int) -> int:
    """Hash an integer of any size and sign to 64 bits."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


# --- words and uniforms -------------------------------------------------------------------------------------------


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox4x32-10: four 32-bit words out of four of counter and two of key."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(PHILOX_ROUNDS):
        p0 = PHILOX_MULTIPLIERS[0] * c0
        p1 = PHILOX_MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & _M32, (p0 >> 32) ^ c3 ^ k1, p0 & _M32
        k0 = (k0 + PHILOX_WEYL[0]) & _M32
        k1 = (k1 + PHILOX_WEYL[1]) & _M32
    return c0, c1, c2, c3


def counter_of(r: int, element: int, step: int, draw: int) -> tuple[tuple[int, int, int, int], int]:
    """Where a word lives: its counter, and which of the four output words it is."""
    limits = {"r": (r, REPLICATES), "element": (element, ELEMENTS), "step": (step, STEPS), "draw": (draw, DRAWS)}
    for name, (value, limit) in limits.items():
        if not 0 <= value < limit:
            raise ValueError(f"{name} must be in [0, {limit}), got {value}")
    q = 16 * (r // 64) + r % 16
    return (q & _M32, element, step, (q >> 32) << 24 | draw), r % 64 // 16


def word(key: tuple[int, int], r: int, element: int, step: int, draw: int) -> int:
    """The 32-bit word of one draw."""
    counter, index = counter_of(r, element, step, draw)
    return philox(counter, key)[index]


def uniform(
    key: tuple[int, int], r: int, element: int, step: int, draw: int, fine: bool = False, dtype: str = "float64"
) -> float:
    """The uniform number of one draw, of two if `fine`; one of float32 is returned exactly, as a Python float."""
    high = word(key, r, element, step, draw)
    low = word(key, r, element, step, draw + 1) if fine else 0
    if dtype == "float32":
        return ((high >> 9) + 0.5) * 2.0**-23
    if fine:
        return ((high >> 6 << 26 | low >> 6) + 0.5) * 2.0**-52
    return (high + 0.5) * 2.0**-32


# --- discrete draws -----------------------------------------------------------------------------------------------


def _less(word: Callable[[int], int], p: float) -> bool:
    """Whether U = Σ word(i) · 2^(−32 (i + 1)) is less than p."""
    rest = Fraction(p)
    for i in range(WORDS):
        rest *= 1 << 32
        top = math.floor(rest)
        if word(i) != top:
            return word(i) < top
        rest -= top
    return False


def _complement(word: Callable[[int], int]) -> Callable[[int], int]:
    """The words of 1 − U."""
    return lambda i: word(i) ^ _M32


def below(word: Callable[[int], int], p: float, q: float) -> bool:
    """Whether U < p, given q = 1 − p to its own precision: the draw of an event of probability p.

    Parameters
    ----------
    word : callable
        ``word(i)``: the 32-bit word of draw i. Antithetic noise has its complement.
    p, q : float
    """
    return _less(word, p) if p <= 0.5 else not _less(_complement(word), q)


def category_of_sums(word: Callable[[int], int], low: Sequence[float], high: Sequence[float]) -> int:
    """`category`, by the sums of the weights from the first one on, and from the last one on: searched by halves."""
    middle = bisect.bisect_right(low, 0.5, hi=len(low) - 1)
    found = bisect.bisect_left(range(middle), True, key=lambda k: _less(word, low[k]))
    if found < middle:
        return found
    behind = range(len(low) - 1, middle, -1)
    at = bisect.bisect_left(behind, True, key=lambda k: _less(_complement(word), high[k]))
    return behind[at] if at < len(behind) else middle


def category(word: Callable[[int], int], weights: Sequence[float]) -> int:
    """The draw of an index with these probabilities: where U falls among their sums, counted from the nearer end.

    The value in the middle, whose sum is the first above ½, gets what rounding leaves of 1. A weight of 0 is not drawn.
    """
    low = 0.0
    middle = len(weights) - 1
    for k, weight in enumerate(weights):
        low += weight
        if low > 0.5:
            middle = k
            break
        if _less(word, low):
            return k
    high = 0.0
    for k in range(len(weights) - 1, middle, -1):
        high += weights[k]
        if _less(_complement(word), high):
            return k
    return middle
