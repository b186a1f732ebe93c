"""log Φ of the normal distribution, the inverse Mills ratio φ/Φ that is its slope, and what that is more than −x.

Owns these functions for use inside `@njit` code, built like those of `special`: float32 is computed in float64 and
rounded, and loops over them are vectorised. All three are made of the third, far below 0 too, where log Φ is all but
−x²/2 and the ratio all but −x: so nothing is lost to a difference.

It is pasted after `special` into exported modules, and needs that and `vector_math` alone.
"""

from scg_numba.special import exp_of_square, in_float64
from scg_numba.vector_math import at_most, lane_function, log_lane, log_of_sum, polynomial, select

PEAK = 0.3989422804014327  # φ(0)
# q(u) of (1 + t)(φ(t)/Φ(−t) − t) = √(2/π) + (1 + u)·q(u), to 1e-17, in u = 1 − 8/(t + 4), which maps t ≥ 0 into [−1, 1]
# (the first 28 terms of its Chebyshev series, from values in 45 digits). The factor 1 + t makes it nearly constant, as
# that of erfcx does; what is added last makes it exact at 0.
MILLS_POLYNOMIAL = (
    0.33015116164449, -0.39220754162562643, 0.20010379343478893, -0.00717132455570927, -0.053899759647410825,
    0.02313036762573188, 0.009293837417422447, -0.010422923546071468, -0.0001826153952169987, 0.003475276084908929,
    -0.0007232389920524894, -0.0009704754843012266, 0.000410092831860548, 0.0002289114185800076,
    -0.00016017350156463512, -4.2263682560338435e-05, 5.148244906732441e-05, 3.841423553806653e-06,
    -1.4125946962544237e-05, 1.3351470851873552e-06, 3.269979010828468e-06, -9.403596531354537e-07,
    -6.052351406613098e-07, 3.2675402819743696e-07, 7.939596004988024e-08, -6.977392780733164e-08,
    -5.464521628536843e-09, 7.202798631196656e-09,
)  # fmt: skip


def rest_below(t):
    """φ(t)/Φ(−t) − t for t ≥ 0."""
    above = 2.0 - 8.0 / (t + 4.0)
    return above.times_plus(polynomial(above - 1.0, MILLS_POLYNOMIAL), 2.0 * PEAK) / (1.0 + t)


def ratio_above(t):
    """φ(t)/Φ(t) and Φ(−t) for t ≥ 0."""
    near = at_most(t, 39.0)  # φ(39) = 0 in float64
    density = PEAK * exp_of_square(near, -0.5)
    tail = density / (near + rest_below(near))
    return density / (1.0 - tail), tail


@lane_function
@in_float64
def log_ndtr(x):
    """log Φ(x), within 4 ulp."""
    t = abs(x)
    below = -0.5 * (t * t) - log_lane((t + rest_below(t)) / PEAK)
    return select(x < 0.0, below, log_of_sum(x.like(1.0), -ratio_above(t)[1]))


@lane_function
@in_float64
def inverse_mills(x):
    """φ(x)/Φ(x), within 6 ulp."""
    t = abs(x)
    return select(x < 0.0, t + rest_below(t), ratio_above(t)[0])


@lane_function
@in_float64
def inverse_mills_rest(x):
    """x + φ(x)/Φ(x), within 6 ulp."""
    t = abs(x)
    return select(x < 0.0, rest_below(t), x + ratio_above(t)[0])
