"""Special functions that LLVM can vectorise: lgamma, digamma, trigamma and what is left of them at large arguments,
the deviance, erf, erfc, ndtr, ndtri.

Owns the functions that densities and their derivatives need beyond the elementary ones, for use inside `@njit` code,
built like those of `vector_math`: straight-line IR on `Lane`s. All sides of a case distinction are computed and one is
selected, which in a vectorised loop is several times cheaper than a call.

Promises: the result has the argument's type; float32 is computed in float64 and rounded (½ ulp), except `ndtri`, which
samplers call for every draw; float64 errors are as the docstrings state; NaN gives NaN, poles and limits are those of
the mathematics; accuracy does not depend on the caller's `fastmath`.

Besides `vector_math` the file needs nothing, and it is pasted after that one's text into exported modules.
"""

import functools
import math

from numba.extending import intrinsic

from scg_numba.vector_math import (
    F64,
    FORMATS,
    LN2_HIGH,
    Both,
    Lane,
    at_most,
    exp_lane,
    lane_function,
    log_lane,
    log_parts,
    polynomial,
    select,
)

INFINITY = float("inf")
NOT_A_NUMBER = float("nan")


def in_float64(emit):
    """Let `emit` see its arguments in float64 and round its result to the arguments' type."""

    @functools.wraps(emit)
    def widened(x, *others):
        return emit(x.to(F64), *(y.to(F64) for y in others)).to(x.form)

    return widened


# --- error function and normal distribution ---------------------------------------------------------------------------

# erf(x)/x − 1 in x², minimax on |x| ≤ 1, error 7e-18 (Remez in 40 digits, as all tables here but the last).
ERF_POLYNOMIAL = (
    0.12837916709551256, -0.3761263890318352, 0.112837916709442, -0.026866170643113415, 0.005223977606130842,
    -0.0008548325929766244, 0.0001205529358693695, -1.4924712439534814e-05, 1.6447132699786621e-06,
    -1.6206318752969208e-07, 1.3710988704190523e-08, -7.779462971761597e-10,
)  # fmt: skip
# (1 + 2y)·exp(y²)·erfc(y) in u = 1 − 6/(y + 3), which maps 0 ≤ y ≤ 28 into [−1, 1): error 2e-17. The factor 1 + 2y
# makes it nearly constant, so that rounding u matters little (M. M. Shepherd, J. G. Laframboise, Math. Comp. 36, 1981).
ERFCX_POLYNOMIAL = (
    1.2530080582697296, -0.13562110612458056, -0.04756229435344914, 0.12964515870269058, -0.119273663415394,
    0.0683080273462868, -0.023770514916733456, 0.002529391781024955, 0.0018886903351929443, -0.000779831977444015,
    -0.00010515961075774347, 0.00012509784543081133, 4.948511543647299e-06, -2.0095653712705963e-05,
    -7.282023724842686e-07, 3.462022505567023e-06, 3.4944415456234514e-07, -6.025527837860128e-07,
    -1.3095802356383818e-07, 9.015722388468132e-08, 3.243187519800618e-08, -7.991876438587684e-09,
    -3.981000518708985e-09,
)  # fmt: skip


def erfcx_lane(y):
    """exp(y²)·erfc(y) for 0 ≤ y ≤ 28."""
    return polynomial(1.0 - 6.0 / (y + 3.0), ERFCX_POLYNOMIAL) / (1.0 + 2.0 * y)


def exp_of_square(y, factor):
    """exp(factor·y²) for factor −1 or −½: what rounding takes from y² would cost y² ulp in the result."""
    square = y * y
    error = y.exact_times_plus(y, -square)
    return exp_lane(factor * square, tail=factor * error)


def erfc_of_positive(y):
    """erfc(y) for y ≥ 0."""
    bounded = at_most(y, 28.0)  # erfc 28 = 0 in float64
    return erfcx_lane(bounded) * exp_of_square(bounded, -1.0)


def small_erf(x):
    """erf x for |x| ≤ 1."""
    return x.times_plus(polynomial(x * x, ERF_POLYNOMIAL), x)


@lane_function
@in_float64
def erf(x):
    """erf x, within 1 ulp."""
    y = abs(x)
    return select(y < 1.0, small_erf(x), (1.0 - erfc_of_positive(y)).with_sign_of(x))


@lane_function
@in_float64
def erfc(x):
    """1 − erf x, within 4 ulp, down to the denormals for large x."""
    tail = erfc_of_positive(abs(x))
    return select(abs(x) < 0.5, 1.0 - small_erf(x), select(x < 0.0, 2.0 - tail, tail))


@lane_function
@in_float64
def ndtr(x):
    """Standard normal distribution function, within 5 ulp, down to the denormals for very negative x."""
    y = at_most(abs(x), 39.0)  # Φ(−39) = 0 in float64
    tail = 0.5 * erfcx_lane(math.sqrt(0.5) * y) * exp_of_square(y, -0.5)
    centre = 0.5 + 0.5 * small_erf(math.sqrt(0.5) * x)
    return select(y < 0.7, centre, select(x < 0.0, tail, 1.0 - tail))


# Inverse normal: numerators and denominators for the centre in 0.180625 − q² and for two tails in √(−log p), shifted by
# 1.6 and by 5. M. J. Wichura, Algorithm AS 241, Applied Statistics 37 (1988): PPND16 and PPND7.
NDTRI_CENTRE = Both(
    f64=(
        (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
         4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
        (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3, 2.1213794301586595867e4,
         3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
    ),
    f32=(
        (3.3871327179e0, 5.0434271938e1, 1.5929113202e2, 5.9109374720e1),
        (1.0, 1.7895169469e1, 7.8757757664e1, 6.7187563600e1),
    ),
)  # fmt: skip
NDTRI_TAIL = Both(
    f64=(
        (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
         1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
        (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1, 1.48103976427480074590e-1,
         1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
    ),
    f32=(
        (1.4234372777e0, 2.7568153900e0, 1.3067284816e0, 1.7023821103e-1),
        (1.0, 7.3700164250e-1, 1.2021132975e-1),
    ),
)  # fmt: skip
NDTRI_FAR_TAIL = Both(
    f64=(
        (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
         2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
        (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
         7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
    ),
    f32=(
        (6.6579051150e0, 3.0812263860e0, 4.2868294337e-1, 1.7337203997e-2),
        (1.0, 2.4197894225e-1, 1.2258202635e-2),
    ),
)  # fmt: skip


def fraction(x, tables):
    """Numerator and denominator of a rational function."""
    numerator, denominator = tables[x.form.index]
    return polynomial(x, numerator), polynomial(x, denominator)


@lane_function
def ndtri(p):
    """Inverse of the standard normal distribution function, within 6 ulp; ∓∞ at 0 and 1, NaN outside [0, 1]."""
    q = p - 0.5
    central = abs(q) <= 0.425
    root = (-log_lane(select(q < 0.0, p, 1.0 - p))).sqrt()
    near = root <= 5.0
    centre_top, centre_bottom = fraction(0.180625 - q * q, NDTRI_CENTRE)
    near_top, near_bottom = fraction(root - 1.6, NDTRI_TAIL)
    far_top, far_bottom = fraction(root - 5.0, NDTRI_FAR_TAIL)
    tail_top = select(near, near_top, far_top).with_sign_of(q)
    tail_bottom = select(near, near_bottom, far_bottom)
    inside = select(central, q * centre_top, tail_top) / select(central, centre_bottom, tail_bottom)
    below_one = select(p < 1.0, inside, select(p.equals(1.0), p.like(INFINITY), NOT_A_NUMBER))
    return select(p > 0.0, below_one, select(p.equals(0.0), p.like(-INFINITY), NOT_A_NUMBER))


# --- gamma function ---------------------------------------------------------------------------------------------------

# log Γ(2 + v)/v, minimax on −1 ≤ v ≤ ½, error 1e-17.
LGAMMA_POLYNOMIAL = (
    0.42278433509846713, 0.3224670334241129, -0.06735230105319384, 0.020580808427846833, -0.007385551029034797,
    0.0028905103270277506, -0.0011927539011630658, 0.0005096696283772967, -0.00022315487644362708, 9.94559318490845e-05,
    -4.492622075350099e-05, 2.052111959312667e-05, -9.427871406814167e-06, 4.305922708978859e-06,
    -2.1518483129121463e-06, 1.1155818112265959e-06, 3.2485982317361856e-08, 2.3783278436083928e-07,
    -1.029482032303359e-06, -8.075819839076854e-07, 3.5491915147834825e-07, 1.122131483245729e-06,
    7.232351333326974e-07, 1.7671078248597282e-07,
)  # fmt: skip
# (log Γ(x) − Stirling's formula)·(x + 1) in u = 1 − 7/(x + 1), which maps x ≥ 2½ to [−1, 1]: error 5e-17.
STIRLING_POLYNOMIAL = (
    0.09713290176149529, -0.015982003921643416, 0.002512221532713596, -0.00037807776453545376, 5.5336992193498484e-05,
    -8.09358468647181e-06, 1.2068078919940664e-06, -1.8241997883269494e-07, 2.756582939473354e-08,
    -4.1995668749079464e-09, 6.495786732675726e-10, -1.0009848038881847e-10, 1.6852672545269847e-11,
    -2.712306132298775e-12,
)  # fmt: skip
# ψ(z)/(z − root) in z − 1.5, minimax on 1 ≤ z ≤ 2, error 1e-17, and the root of ψ in two parts.
DIGAMMA_POLYNOMIAL = (
    0.951055876031833, -0.4236274212814606, 0.24054248424077396, -0.1484049230538902, 0.09498872445497708,
    -0.06192213327468678, 0.04076083381057618, -0.026975796691557436, 0.01790725248758472, -0.011908219413802051,
    0.007926943925353848, -0.0052799463195547115, 0.0035190129743752053, -0.0023454203464332115, 0.001556594677597269,
    -0.0010368440095612278, 0.0007234529317614695, -0.0004847254934710821, 0.0002269949704502483,
    -0.00014698447758416166, 0.00025987569895370244, -0.0001765590873391525,
)  # fmt: skip
DIGAMMA_ROOT = (1.4616321449683622, 9.549995429965697e-17)
# (log x − ψ(x))·(x + ¾) in u = 1 − 5.5/(x + ¾), which maps x ≥ 2 to [−1, 1]: error 9e-18.
LOG_MINUS_DIGAMMA_POLYNOMIAL = (
    0.5991730952244781, -0.11782528491298727, 0.021931297859673356, -0.003820375927740261, 0.0006278673887558904,
    -0.00010056589539467224, 1.6228393496064466e-05, -2.618531096661656e-06, 4.1269540884509515e-07,
    -6.55523322009145e-08, 1.0686003759964189e-08, -1.643334254019303e-09, 2.545955849366141e-10,
    -4.57018319707044e-11, 7.120779442697232e-12, -9.453368117653702e-13,
)  # fmt: skip
# ψ′(x)·(x + ½) in u = 1 − 5/(x + ½), which maps x ≥ 2 to [−1, 1]: error 6e-18.
TRIGAMMA_POLYNOMIAL = (
    1.243625515195052, -0.2952950178306406, 0.06094123304157867, -0.010660886176911907, 0.0015721774798381476,
    -0.0002077564877108272, 2.821403672662586e-05, -3.868421359447026e-06, 4.3386918767089003e-07,
    -5.419423954055899e-08, 9.906695576734825e-09, -3.707366899636574e-10, 4.547577213513238e-11,
    -8.118669052117884e-11, -1.6447878406419062e-11, 2.5026716456631026e-12, 2.1765853729896263e-12,
)  # fmt: skip
# sin(πf)/f in f², minimax on |f| ≤ ½, error 3e-19.
SINE_OF_PI_POLYNOMIAL = (
    3.141592653589793, -5.167712780049969, 2.550164039877294, -0.5992645293187383, 0.08214588656989362,
    -0.007370430478769476, 0.0004662996888014655, -2.190318548346014e-05, 7.69472791862424e-07,
)  # fmt: skip
STIRLING_CONSTANT = 0.5 * math.log(2.0 * math.pi) - 0.5


def sine_of_pi(f):
    """sin(πf) for |f| ≤ ½."""
    return f * polynomial(f * f, SINE_OF_PI_POLYNOMIAL)


def distance_to_integer(x):
    """x minus the nearest integer; exact, and 0 for −∞ and ∞."""
    bounded = at_most(abs(x), 2.0**53).with_sign_of(x)
    return bounded - bounded.nearest()


def lgamma_next_to_zeros(x, log_x):
    """log Γ(x) for 0 < x ≤ 2½, by the distance to the zeros 1 and 2."""
    below = x < 1.25
    v = select(below, x - 1.0, x - 2.0)
    return v.times_plus(polynomial(v, LGAMMA_POLYNOMIAL), -select(below, log_x, 0.0))


def lgamma_of_positive(x):
    """log Γ(x) for x > 0: up to 2½ by the distance to the zeros 1 and 2, above by Stirling's formula."""
    k, y = log_parts(x)
    near = lgamma_next_to_zeros(x, k.times_plus(LN2_HIGH, y))
    # (x − ½)(log x − 1) cancels most of the constant for small x, so log x must not be rounded before 1 is taken away.
    log_x_minus_one = k.times_plus(LN2_HIGH, -1.0) + y
    s = 1.0 / (x + 1.0)
    rest = s.times_plus(polynomial(1.0 - 7.0 * s, STIRLING_POLYNOMIAL), STIRLING_CONSTANT)
    return select(x < 2.5, near, (x - 0.5).times_plus(log_x_minus_one, rest))


@lane_function
@in_float64
def lgamma(x):
    """log |Γ(x)|; ∞ at 0, −1, −2, …

    Within 4 ulp for x > 0. For x < 0 the error is 3e-15·max(1, |result|), so not small next to the zeros there.
    """
    y = abs(x)
    positive = lgamma_of_positive(y)
    f = distance_to_integer(y)
    reflected = log_lane(math.pi / (y * abs(sine_of_pi(f)))) - positive
    negative = select(y < 2.0**-60, positive, select(f.equals(0.0), INFINITY, reflected))
    return select(y.equals(0.0), INFINITY, select(x > 0.0, positive, negative))


def digamma_parts(x):
    """For x ≥ 0, ψ(x) up to 2, by the distance to its root, and log x − ψ(x) above."""
    below = x < 1.0
    reciprocal = 1.0 / select(below, x, x + 0.75)
    z = select(below, x + 1.0, x)
    from_root = (z - DIGAMMA_ROOT[0]) - DIGAMMA_ROOT[1]
    near = from_root.times_plus(polynomial(z - 1.5, DIGAMMA_POLYNOMIAL), -select(below, reciprocal, 0.0))
    return near, reciprocal * polynomial(1.0 - 5.5 * reciprocal, LOG_MINUS_DIGAMMA_POLYNOMIAL)


def digamma_of_positive(x):
    """ψ(x) for x ≥ 0: around its root by the distance to it, above by its distance from log x."""
    near, gap = digamma_parts(x)
    far = select(x < INFINITY, log_lane(x) - gap, x)
    return select(x < 2.0, near, far)


@lane_function
@in_float64
def digamma(x):
    """ψ(x) = d/dx log Γ(x); ∓∞ at ±0, NaN at −1, −2, … and −∞.

    Within 3 ulp for x > 0. For x < 0 the error is 1e-14·max(1, |result|).
    """
    f = distance_to_integer(x)
    cotangent = sine_of_pi(0.5 - abs(f)) / sine_of_pi(f)
    reflected = x < 0.0
    positive = digamma_of_positive(select(reflected, 1.0 - x, x))
    negative = select(f.equals(0.0), NOT_A_NUMBER, positive - math.pi * cotangent)
    return select(reflected, negative, positive)


def trigamma_of_positive(x):
    """ψ′(x) for x ≥ 0: ψ′(x) = ψ′(x + 1) + 1/x² up to x ≥ 2."""
    total, z = x.like(0.0), x
    for _ in range(2):
        small, reciprocal = z < 2.0, 1.0 / z
        total = select(small, reciprocal.times_plus(reciprocal, total), total)
        z = select(small, z + 1.0, z)
    s = 1.0 / (z + 0.5)
    return s.times_plus(polynomial(1.0 - 5.0 * s, TRIGAMMA_POLYNOMIAL), total)


@lane_function
@in_float64
def trigamma(x):
    """ψ′(x) = d²/dx² log Γ(x), within 3 ulp for x > 0, 1e-14 relative for x < 0; ∞ at 0, −1, −2, …"""
    reflected = x < 0.0
    cosecant = math.pi / sine_of_pi(distance_to_integer(x))
    positive = trigamma_of_positive(select(reflected, 1.0 - x, x))
    return select(reflected, cosecant.times_plus(cosecant, -positive), positive)


def lane_function_of_two(emit):
    """Turn `emit`, a function of two lanes, into a Numba intrinsic for two numbers of one type."""

    def typed(typingctx, x, y):
        if x != y or x not in FORMATS:
            return None

        def codegen(context, builder, signature, args):
            return emit(*(Lane(builder, FORMATS[x], a) for a in args)).value

        return x(x, y), codegen

    functools.update_wrapper(typed, emit)
    del typed.__wrapped__
    return intrinsic(typed)


# --- differences in which large terms cancel --------------------------------------------------------------------------

# Σ cᵢ x⁻²ⁱ: Stirling's series and its derivatives without their leading terms (Abramowitz & Stegun 6.1.41, 6.3.18,
# 6.4.12). From 16 on what is left out is below 1e-16 of the result.
LARGE = 16.0
TRIGAMMA_SERIES = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730)


@lane_function
@in_float64
def lgamma_rest(x):
    """log Γ(x) − x log x + x for x ≥ 0, within 4e-16·max(1, |log x|); NaN below."""
    k, y = log_parts(x)
    log_x = k.times_plus(LN2_HIGH, y)
    s = 1.0 / (x + 1.0)
    far = s.times_plus(polynomial(1.0 - 7.0 * s, STIRLING_POLYNOMIAL), STIRLING_CONSTANT + 0.5) - 0.5 * log_x
    near = lgamma_next_to_zeros(x, log_x) - x * (log_x - 1.0)
    ordinary = select(x < INFINITY, select(x < 2.5, near, far), -x)
    return select(x > 0.0, ordinary, select(x.equals(0.0), x.like(INFINITY), NOT_A_NUMBER))


@lane_function
@in_float64
def digamma_rest(x):
    """log x − ψ(x) for x ≥ 0, within 4 ulp; NaN below."""
    near, far = digamma_parts(x)
    ordinary = select(x < 2.0, log_lane(x) - near, far)
    return select(x > 0.0, ordinary, select(x.equals(0.0), x.like(INFINITY), NOT_A_NUMBER))


@lane_function
@in_float64
def trigamma_rest(x):
    """ψ′(x) − 1/x for x ≥ 0, within 1e-14 of itself; NaN below."""
    r = 1.0 / x
    square = at_most(r * r, 1.0 / LARGE**2)
    far = r * r * r.times_plus(polynomial(square, TRIGAMMA_SERIES), 0.5)
    near = select(x < 2.0**-60, r * r, trigamma_of_positive(x) - r)
    ordinary = select(x < LARGE, near, far)
    return select(x > 0.0, ordinary, select(x.equals(0.0), x.like(INFINITY), NOT_A_NUMBER))


def scaled(x):
    """x·2ⁿ without far exponents, and −n log 2 / 600: quotients of such numbers have all their digits."""
    up, down = x < 2.0**-400, x > 2.0**400
    exponent = select(up, x.like(-1.0), select(down, x.like(1.0), 0.0))
    return select(up, x * 2.0**600, select(down, x * 2.0**-600, x)), exponent


def log_of_ratio(x, m):
    """log(x/m) for positive, finite x and m: the rounding error of the quotient is added as what it is of the whole."""
    (top, n), (bottom, k) = scaled(x), scaled(m)
    ratio = top / bottom
    rest = (-ratio).exact_times_plus(bottom, top) / top
    return (n - k).times_plus(600.0 * math.log(2.0), log_lane(ratio) + rest)


def finite(x):
    """Whether x is positive and finite."""
    return x.builder.and_(x > 0.0, x < INFINITY)


@lane_function_of_two
@in_float64
def log_ratio(x, m):
    """log(x/m), within 3 ulp, also where the two are nearly equal or their quotient is no number; x, m ≥ 0."""
    ordinary = x.builder.and_(finite(x), finite(m))
    plain = select(x < 0.0, NOT_A_NUMBER, select(m < 0.0, NOT_A_NUMBER, log_at_ends(x) - log_at_ends(m)))
    return select(ordinary, log_of_ratio(x, m), plain)


def log_at_ends(x):
    """A number like log x of 0, ∞ and NaN, and between them 0."""
    return select(x.equals(0.0), -INFINITY, select(finite(x), 0.0, x))


@lane_function_of_two
@in_float64
def deviance(x, m):
    """x log(x/m) − x + m, m at x = 0; x, m ≥ 0. The error is some ulp of m − x, where that is small."""
    value = select(m < INFINITY, x.times_plus(log_of_ratio(x, m), m - x), m)
    ends = select(x.equals(0.0), m, select(x > 0.0, (x - m) + INFINITY, NOT_A_NUMBER))
    return select(x.builder.and_(finite(x), m > 0.0), value, select(m >= 0.0, ends, NOT_A_NUMBER))
