"""The toy's kernels as an expert in Numba would write them by hand, with the noise of `scg_numba.noise`.

One tile of uniforms at a time, one pass over it; the mean gradient of a group from three sums, by algebra:
Σᵢ (cᵢ − (S − cᵢ)/63) sᵢ = (64 Σ cᵢsᵢ − S Σ sᵢ) / 63. Variants: ``"plain"`` (means only), ``"moments"`` (and the centred
second moments of the group means, or of replicates where there are fewer than 32 groups or no baseline), and
``"straight"`` and ``"straight-moments"`` (without the algebra: costs stored, their sum, then baseline and gradient).
"""

import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import toy
from scg_numba.noise import fill_uniform

from scg.noise import h64, key

OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "reassoc", "arcp"}}
GROUP, TARGET = toy.GROUP, toy.TARGET
TILE = 1024
CHUNK = 1 << 17


def setup(threads: int) -> dict:
    """Versions and threads."""
    return {"versions": f"numba {numba.__version__}", "threads": f"a pool of {threads}" if threads > 1 else "inline",
            "dtype": "float64"}


@numba.njit(**OPTIONS)
def loo_plain(p, k0, k1, first, last, out):
    """Sums of cost and gradient over whole groups."""
    u = np.empty(TILE)
    cost = grad = 0.0
    for start in range(first, last, TILE):
        lanes = min(TILE, last - start)
        fill_uniform(u[:lanes], k0, k1, start, 0, 0, 0)
        for g in range(lanes // GROUP):
            v = u[GROUP * g : GROUP * g + GROUP]  # a slice: `u[g + i]` would be tested for a negative index
            s = t = st = 0.0
            for i in range(GROUP):
                b = 1.0 if v[i] < p else 0.0
                c = (b - TARGET) ** 2
                s += c
                t += b - p
                st += c * (b - p)
            cost += s
            grad += (GROUP * st - s * t) / (GROUP - 1)
    out[0], out[1] = cost, grad


@numba.njit(**OPTIONS)
def loo_moments(p, k0, k1, first, last, out):
    """Count, sums and centred squares of the group means of cost and gradient."""
    u = np.empty(TILE)
    count = cost = grad = cost2 = grad2 = cost_pivot = grad_pivot = 0.0
    for start in range(first, last, TILE):
        lanes = min(TILE, last - start)
        fill_uniform(u[:lanes], k0, k1, start, 0, 0, 0)
        for g in range(lanes // GROUP):
            v = u[GROUP * g : GROUP * g + GROUP]
            s = t = st = 0.0
            for i in range(GROUP):
                b = 1.0 if v[i] < p else 0.0
                c = (b - TARGET) ** 2
                s += c
                t += b - p
                st += c * (b - p)
            mean, slope = s / GROUP, (GROUP * st - s * t) / (GROUP * (GROUP - 1))
            if count == 0.0:
                cost_pivot, grad_pivot = mean, slope
            mean -= cost_pivot
            slope -= grad_pivot
            count += 1.0
            cost += mean
            grad += slope
            cost2 += mean * mean
            grad2 += slope * slope
    out[0], out[1], out[2] = count, cost + count * cost_pivot, grad + count * grad_pivot
    out[3], out[4] = cost2 - cost * cost / count, grad2 - grad * grad / count


@numba.njit(**OPTIONS)
def loo_replicates(p, k0, k1, first, last, out):
    """As `loo_moments`, over replicates: two passes over each group."""
    u = np.empty(TILE)
    count = cost = grad = cost2 = grad2 = 0.0
    cost_pivot, grad_pivot = TARGET**2, 0.0
    for start in range(first, last, TILE):
        lanes = min(TILE, last - start)
        fill_uniform(u[:lanes], k0, k1, start, 0, 0, 0)
        for g in range(lanes // GROUP):
            v = u[GROUP * g : GROUP * g + GROUP]
            s = 0.0
            for i in range(GROUP):
                s += ((1.0 if v[i] < p else 0.0) - TARGET) ** 2
            for i in range(GROUP):
                b = 1.0 if v[i] < p else 0.0
                c = (b - TARGET) ** 2
                slope = (GROUP * c - s) / (GROUP - 1) * (b - p) - grad_pivot
                c -= cost_pivot
                cost += c
                grad += slope
                cost2 += c * c
                grad2 += slope * slope
            count += GROUP
    out[0], out[1], out[2] = count, cost + count * cost_pivot, grad + count * grad_pivot
    out[3], out[4] = cost2 - cost * cost / count, grad2 - grad * grad / count


@numba.njit(**OPTIONS)
def loo_straight(p, k0, k1, first, last, out):
    """As `loo_plain`, each quantity where the formula has it."""
    u, costs = np.empty(TILE), np.empty(GROUP)
    cost = grad = 0.0
    for start in range(first, last, TILE):
        lanes = min(TILE, last - start)
        fill_uniform(u[:lanes], k0, k1, start, 0, 0, 0)
        for g in range(lanes // GROUP):
            v = u[GROUP * g : GROUP * g + GROUP]
            s = 0.0
            for i in range(GROUP):
                costs[i] = ((1.0 if v[i] < p else 0.0) - TARGET) ** 2
                s += costs[i]
            for i in range(GROUP):
                baseline = (s - costs[i]) / (GROUP - 1)
                grad += (costs[i] - baseline) * ((1.0 if v[i] < p else 0.0) - p)
            cost += s
    out[0], out[1] = cost, grad


@numba.njit(**OPTIONS)
def loo_straight_moments(p, k0, k1, first, last, out):
    """As `loo_moments`, each quantity where the formula has it."""
    u, costs = np.empty(TILE), np.empty(GROUP)
    count = cost = grad = cost2 = grad2 = cost_pivot = grad_pivot = 0.0
    for start in range(first, last, TILE):
        lanes = min(TILE, last - start)
        fill_uniform(u[:lanes], k0, k1, start, 0, 0, 0)
        for g in range(lanes // GROUP):
            v = u[GROUP * g : GROUP * g + GROUP]
            s = slope = 0.0
            for i in range(GROUP):
                costs[i] = ((1.0 if v[i] < p else 0.0) - TARGET) ** 2
                s += costs[i]
            for i in range(GROUP):
                baseline = (s - costs[i]) / (GROUP - 1)
                slope += (costs[i] - baseline) * ((1.0 if v[i] < p else 0.0) - p)
            mean, slope = s / GROUP, slope / GROUP
            if count == 0.0:
                cost_pivot, grad_pivot = mean, slope
            mean -= cost_pivot
            slope -= grad_pivot
            count += 1.0
            cost += mean
            grad += slope
            cost2 += mean * mean
            grad2 += slope * slope
    out[0], out[1], out[2] = count, cost + count * cost_pivot, grad + count * grad_pivot
    out[3], out[4] = cost2 - cost * cost / count, grad2 - grad * grad / count


@numba.njit(**OPTIONS)
def none_plain(p, k0, k1, first, last, out):
    """Sums of cost and gradient."""
    u = np.empty(TILE)
    cost = grad = 0.0
    for start in range(first, last, TILE):
        lanes = min(TILE, last - start)
        fill_uniform(u[:lanes], k0, k1, start, 0, 0, 0)
        for i in range(lanes):
            b = 1.0 if u[i] < p else 0.0
            c = (b - TARGET) ** 2
            cost += c
            grad += c * (b - p)
    out[0], out[1] = cost, grad


@numba.njit(**OPTIONS)
def none_moments(p, k0, k1, first, last, out):
    """Count, sums and centred squares of the replicates' cost and gradient."""
    u = np.empty(TILE)
    cost = grad = cost2 = grad2 = 0.0
    cost_pivot, grad_pivot = TARGET**2, -(TARGET**2) * p
    for start in range(first, last, TILE):
        lanes = min(TILE, last - start)
        fill_uniform(u[:lanes], k0, k1, start, 0, 0, 0)
        for i in range(lanes):
            b = 1.0 if u[i] < p else 0.0
            c = (b - TARGET) ** 2
            slope = c * (b - p) - grad_pivot
            c -= cost_pivot
            cost += c
            grad += slope
            cost2 += c * c
            grad2 += slope * slope
    count = float(last - first)
    out[0], out[1], out[2] = count, cost + count * cost_pivot, grad + count * grad_pivot
    out[3], out[4] = cost2 - cost * cost / count, grad2 - grad * grad / count


KERNELS = {
    ("loo", "plain"): loo_plain,
    ("loo", "moments"): loo_moments,
    ("loo", "replicates"): loo_replicates,
    ("loo", "straight"): loo_straight,
    ("loo", "straight-moments"): loo_straight_moments,
    ("none", "plain"): none_plain,
    ("none", "moments"): none_moments,
}


def join(a, b):
    """The moments of two sets of observations together (Chan, Golub & LeVeque 1979)."""
    n, m = a[0], b[0]
    out = a + b
    for i in (1, 2):
        gap = b[i] / m - a[i] / n
        out[i + 2] += gap * gap * (n * m / (n + m))
    return out


def tree(parts, combine):
    """Combine parts in pairs, in an order that depends on their number alone."""
    while len(parts) > 1:
        rest = parts[len(parts) // 2 * 2 :]
        parts = [combine(a, b) for a, b in zip(parts[::2], parts[1::2])] + rest
    return parts[0]


def ranges(samples: int) -> list[tuple[int, int]]:
    """At most 64 ranges of whole blocks, none much smaller than `CHUNK`."""
    count = max(1, min(64, samples // CHUNK))
    edges = [i * (samples // GROUP) // count * GROUP for i in range(count + 1)]
    return list(itertools.pairwise(edges))


def make(variant: str, baseline: str, samples: int, threads: int):
    """A step: the kernel over all ranges, inline or on a pool."""
    moments = "moments" in variant
    if moments and baseline == "loo" and samples // GROUP < 32:
        variant = "replicates"
    kernel = KERNELS[baseline, variant]
    site, parts = h64("b"), ranges(samples)
    pool = ThreadPoolExecutor(threads) if threads > 1 and len(parts) > 1 else None
    run_all = pool.map if pool else map

    def step(seed):
        k0, k1 = key(seed, site)
        p = 1.0 / (1.0 + math.exp(-toy.THETA))

        def part(edges):
            out = np.empty(5)
            kernel(p, k0, k1, edges[0], edges[1], out)
            return out

        if not moments:
            total = tree(list(run_all(part, parts)), np.add)
            return total[0] / samples, total[1] / samples, math.nan
        count, cost, grad, _, squares = tree(list(run_all(part, parts)), join)
        return cost / count, grad / count, math.sqrt(squares / (count * (count - 1.0)))

    return step
