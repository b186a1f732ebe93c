"""Elementary functions that LLVM can vectorise.

Owns `exp`, `log`, `log1p`, `expm1`, `tanh`, `sigmoid`, `softplus`, `sin` and `cos` for use inside `@njit` code. The
wheels of llvmlite carry no vector math library, so a loop over such functions would cost a call to libm per element.
Here each function is straight-line LLVM IR (polynomials, selects and bit operations; no branch, call or table), which
the loop vectoriser widens like any sum or product.

Promises, for float32 and float64 alike, tested against mpmath over the whole range:

- the result has the argument's type (an integer counts as float64) and is within the error that the docstring states,
  denormal results included;
- NaN, infinities, signed zeros, overflow and underflow give what IEEE 754 and C99 Annex F ask for;
- accuracy does not depend on the caller's `fastmath`: the instructions built here keep their own flags.

Fused multiply-add is used where the machine has it. Without it all functions keep their accuracy, but the argument
reduction of `sin` and `cos`, which needs exact products, becomes a slow call.

The file stands alone (numpy, numba and llvmlite only): its text is pasted into exported modules.
"""

import functools
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# --- building IR ------------------------------------------------------------------------------------------------------


class Both(NamedTuple):
    """A constant, or a table of them, for either precision."""

    f64: object
    f32: object


class Format(NamedTuple):
    """What an emitter has to know about a floating-point type; `index` is its place in a `Both`."""

    index: int
    real: ir.Type
    integer: ir.Type
    mantissa_bits: int
    bias: int

    def round_magic(self, offset=0):
        """1.5·2^mantissa_bits + offset: adding it to a small t leaves round(t) + offset in the low bits of the sum."""
        return 1.5 * 2.0**self.mantissa_bits + offset


F64 = Format(0, ir.DoubleType(), ir.IntType(64), 52, 1023)
F32 = Format(1, ir.FloatType(), ir.IntType(32), 23, 127)
FORMATS = {types.float64: F64, types.float32: F32}

# Numba stamps the caller's fastmath flags on each instruction that has none, and `reassoc` would undo compensated sums.
# Each operation therefore gets a flag of its own that means nothing for it: reciprocals are a matter of divisions only,
# contraction is one of sums and products only, the sign of zero is none of a comparison's.
INERT_FLAG = {"fadd": "arcp", "fsub": "arcp", "fmul": "arcp", "fdiv": "contract", "fcmp": "nsz"}


class NoFlags(tuple):
    """The fastmath flags of a call that shall stay strict: to calls Numba adds the caller's flags in any case."""

    def add(self, flag):
        """Ignore the flag."""


class Lane:
    """A float of the loop body being built. Arithmetic on it appends LLVM instructions, strict under any fastmath."""

    __slots__ = ("builder", "form", "value")

    def __init__(self, builder, form, value):
        self.builder, self.form, self.value = builder, form, value

    def new(self, value):
        """A lane holding `value`, an LLVM value of this lane's type."""
        return Lane(self.builder, self.form, value)

    def like(self, other):
        """Return `other` as a lane of this type: a lane as it is, a number or a `Both` as a constant."""
        if isinstance(other, Lane):
            return other
        number = other[self.form.index] if isinstance(other, Both) else other
        return self.new(ir.Constant(self.form.real, float(number)))

    def _operate(self, name, left, right):
        operation = getattr(self.builder, name)
        return self.new(operation(self.like(left).value, self.like(right).value, flags=(INERT_FLAG[name],)))

    def _compare(self, relation, other):
        flags = (INERT_FLAG["fcmp"],)
        return self.builder.fcmp_ordered(relation, self.value, self.like(other).value, flags=flags)

    def _call(self, name, *others):
        values = [self.value, *(self.like(other).value for other in others)]
        real = self.form.real
        function = self.builder.module.declare_intrinsic(name, [real], ir.FunctionType(real, [real] * len(values)))
        call = self.builder.call(function, values)
        call.fastmath = NoFlags()
        return self.new(call)

    def __add__(self, other):
        return self._operate("fadd", self, other)

    def __radd__(self, other):
        return self._operate("fadd", other, self)

    def __sub__(self, other):
        return self._operate("fsub", self, other)

    def __rsub__(self, other):
        return self._operate("fsub", other, self)

    def __mul__(self, other):
        return self._operate("fmul", self, other)

    def __rmul__(self, other):
        return self._operate("fmul", other, self)

    def __truediv__(self, other):
        return self._operate("fdiv", self, other)

    def __rtruediv__(self, other):
        return self._operate("fdiv", other, self)

    def __neg__(self):
        return self.new(self.builder.fneg(self.value))

    def __lt__(self, other):
        return self._compare("<", other)

    def __gt__(self, other):
        return self._compare(">", other)

    def __le__(self, other):
        return self._compare("<=", other)

    def __ge__(self, other):
        return self._compare(">=", other)

    def equals(self, other):
        """Condition self = other, false for NaN."""
        return self._compare("==", other)

    def __abs__(self):
        return self._call("llvm.fabs")

    def nearest(self):
        """The integer next to self, ties to even."""
        return self._call("llvm.rint")

    def sqrt(self):
        """√self, correctly rounded."""
        return self._call("llvm.sqrt")

    def with_sign_of(self, other):
        """|self| with the sign of `other`."""
        return self._call("llvm.copysign", other)

    def times_plus(self, factor, term):
        """self·factor + term, fused if that is fast on this machine."""
        return self._call("llvm.fmuladd", factor, term)

    def exact_times_plus(self, factor, term):
        """self·factor + term with one rounding, on every machine."""
        return self._call("llvm.fma", factor, term)

    def to(self, form):
        """This number in another format."""
        if form is self.form:
            return self
        convert = self.builder.fpext if form is F64 else self.builder.fptrunc
        return Lane(self.builder, form, convert(self.value, form.real))

    @property
    def bits(self):
        """The IEEE 754 encoding."""
        return Bits(self.builder, self.form, self.builder.bitcast(self.value, self.form.integer))


class Bits:
    """The encoding of a lane as an unsigned integer of its width."""

    __slots__ = ("builder", "form", "value")

    def __init__(self, builder, form, value):
        self.builder, self.form, self.value = builder, form, value

    def _operate(self, name, other):
        value = other.value if isinstance(other, Bits) else ir.Constant(self.form.integer, other)
        return Bits(self.builder, self.form, getattr(self.builder, name)(self.value, value))

    def __add__(self, other):
        return self._operate("add", other)

    def __sub__(self, other):
        return self._operate("sub", other)

    def __and__(self, other):
        return self._operate("and_", other)

    def __or__(self, other):
        return self._operate("or_", other)

    def __xor__(self, other):
        return self._operate("xor", other)

    def __lshift__(self, count):
        return self._operate("shl", count)

    def __rshift__(self, count):
        return self._operate("lshr", count)

    def has(self, mask):
        """Condition: some bit of `mask` is set."""
        masked = self & mask
        return self.builder.icmp_unsigned("!=", masked.value, ir.Constant(self.form.integer, 0))

    @property
    def real(self):
        """The float with this encoding."""
        return Lane(self.builder, self.form, self.builder.bitcast(self.value, self.form.real))


def select(condition, yes, no):
    """`yes` where the condition holds, else `no`; one of the two may be a number."""
    lane = yes if isinstance(yes, Lane) else no
    return lane.new(lane.builder.select(condition, lane.like(yes).value, lane.like(no).value))


def at_most(x, bound):
    """min(x, bound); NaN stays NaN."""
    return select(x > bound, bound, x)


def at_least(x, bound):
    """max(x, bound); NaN stays NaN."""
    return select(x < bound, bound, x)


def polynomial(x, coefficients):
    """Σ cᵢ xⁱ by Horner's rule: neighbouring iterations of the loop hide its latency."""
    if isinstance(coefficients, Both):
        coefficients = coefficients[x.form.index]
    total = x.like(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total.times_plus(x, c)
    return total


def lane_function(emit):
    """Turn `emit`, a function from `Lane` to `Lane`, into a Numba intrinsic of that name."""

    def typed(typingctx, x):
        real = types.float64 if isinstance(x, types.Integer) else x
        if real not in FORMATS:
            return None

        def codegen(context, builder, signature, args):
            return emit(Lane(builder, FORMATS[real], args[0])).value

        return real(real), codegen

    functools.update_wrapper(typed, emit)
    del typed.__wrapped__  # Numba would take the argument names from there
    return intrinsic(typed)


# --- exponentials -----------------------------------------------------------------------------------------------------

LOG2_E = 1.4426950408889634
# ln 2 in two parts (fdlibm, Cephes); the high one has trailing zeros enough for exact products with exponents.
LN2_HIGH = Both(f64=6.93147180369123816490e-01, f32=0.693359375)
LN2_LOW = Both(f64=1.90821492927058770002e-10, f32=-2.12194440e-4)
# Beyond these, exp is 0 or ∞ in the format and 2ⁿ still has an encoding as a product of two factors.
EXP_LOWEST = Both(f64=-746.0, f32=-104.0)
EXP_HIGHEST = Both(f64=710.0, f32=89.0)
# Below this, expm1 is −1 in the format.
EXPM1_LOWEST = Both(f64=-38.0, f32=-18.0)
# (eʳ − 1 − r) / r² on |r| ≤ ln 2 / 2: minimax for the relative error of expm1, 3.6e-17 and 1.3e-8 (Remez in 50 digits).
EXP_POLYNOMIAL = Both(
    f64=(
        0.500000000000001, 0.16666666666666674, 0.041666666666521524, 0.008333333333322172, 0.0013888888947962543,
        0.00019841269886699926, 2.480148716583871e-05, 2.7557242213510696e-06, 2.7632716110097407e-07,
        2.5110096304031182e-08,
    ),
    f32=(0.4999999701976776, 0.1666654348373413, 0.04166720435023308, 0.008366545662283897, 0.0013882304774597287),
)  # fmt: skip


def split_by_ln2(x, offset):
    """Write x = n·ln 2 + r with |r| ≤ ln 2 / 2. Returns the bits of n + offset (garbage above the low ones) and r."""
    magic = x.form.round_magic(offset)
    shifted = x.times_plus(LOG2_E, magic)
    n = shifted - magic
    r = n.times_plus(-x.like(LN2_HIGH), x)
    return shifted.bits, n.times_plus(-x.like(LN2_LOW), r)


def exp_minus_one(r):
    """eʳ − 1 for a reduced r."""
    return (r * r).times_plus(polynomial(r, EXP_POLYNOMIAL), r)


def exp_lane(x, tail=None):
    """exp(x + tail), |tail| ≪ 1. The factor 2ⁿ is applied in two halves, so a denormal result is rounded once."""
    form = x.form
    n, r = split_by_ln2(at_least(at_most(x, EXP_HIGHEST), EXP_LOWEST), offset=2 * form.bias)
    if tail is not None:
        r = r + tail
    half = n >> 1
    one_half_power = (half << form.mantissa_bits).real
    other_half_power = ((n - half) << form.mantissa_bits).real
    return (1.0 + exp_minus_one(r)) * one_half_power * other_half_power


def expm1_lane(x):
    """eˣ − 1 = 2 (2ⁿ⁻¹ (eʳ − 1) + (2ⁿ⁻¹ − ½)): the halved power does not overflow before the result does."""
    form = x.form
    n, r = split_by_ln2(at_least(at_most(x, EXP_HIGHEST), EXPM1_LOWEST), offset=form.bias - 1)
    half_power = (n << form.mantissa_bits).real
    half = exp_minus_one(r).times_plus(half_power, half_power - 0.5)
    tiny = abs(x) < 2.0 ** -(form.mantissa_bits + 2)  # where halving could lose a denormal's last bit, or −0 its sign
    return select(tiny, x, half + half)


@lane_function
def exp(x):
    """eˣ, within 1.1 ulp; denormal results are rounded once."""
    return exp_lane(x)


@lane_function
def expm1(x):
    """eˣ − 1, within 2 ulp, also next to zero."""
    return expm1_lane(x)


@lane_function
def sigmoid(x):
    """1 / (1 + e⁻ˣ), within 2.5 ulp, down to the denormals for very negative x."""
    e = exp_lane(-abs(x))
    return select(x < 0.0, e, 1.0) / (1.0 + e)


@lane_function
def tanh(x):
    """tanh x = t / (t + 2) with t = expm1(2|x|), within 3 ulp."""
    t = expm1_lane(2.0 * at_most(abs(x), 22.0))  # tanh 22 = 1 in both formats
    return (t / (t + 2.0)).with_sign_of(x)


# --- logarithms -------------------------------------------------------------------------------------------------------

SQRT_HALF_BITS = Both(f64=0x3FE6A09E667F3BCD, f32=0x3F3504F3)
SMALLEST_NORMAL = Both(f64=2.0**-1022, f32=2.0**-126)
# f64: fdlibm's e_log.c, a polynomial in z = s² with s = f/(2 + f); f32: logf of Cephes, a polynomial in f.
LOG_POLYNOMIAL = Both(
    f64=(
        6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
        1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
    ),
    f32=(
        3.3333331174e-1, -2.4999993993e-1, 2.0000714765e-1, -1.6668057665e-1, 1.4249322787e-1, -1.2420140846e-1,
        1.1676998740e-1, -1.1514610310e-1, 7.0376836292e-2,
    ),
)  # fmt: skip
# (log(1 + x) − x) / x² on 0 ≤ x ≤ 1, float32: minimax for the relative error of log(1 + x), 8e-10 (in 40 digits)
LOG1P_POLYNOMIAL = (-0.49999988, 0.3333269, -0.24988577, 0.19897912, -0.16129263, 0.12466956, -0.08307172, 0.04197937,
                    -0.013630544, 0.0020727606)


def split_exponent(x):
    """Write a positive, normal x as 2ᵏ·m with √½ ≤ m < √2. Returns the bits of k + bias, k and m."""
    form = x.form
    one = form.bias << form.mantissa_bits
    root = SQRT_HALF_BITS[form.index]
    two_to_mantissa = (form.bias + form.mantissa_bits) << form.mantissa_bits
    shifted = x.bits + (one - root)
    biased = shifted >> form.mantissa_bits
    m = ((shifted & ((1 << form.mantissa_bits) - 1)) + root).real
    # Or-ing a small integer into the encoding of 2^mantissa_bits converts it to float with any instruction set.
    k = (biased | two_to_mantissa).real - (2.0**form.mantissa_bits + form.bias)
    return biased, k, m


def log_near_one(k, f):
    """log(1 + f) + k·LN2_LOW for √½ ≤ 1 + f < √2, the largest term added last."""
    half_square = 0.5 * f * f
    if f.form is F64:
        s = f / (2.0 + f)
        z = s * s
        rest = s * (half_square + z * polynomial(z, LOG_POLYNOMIAL))
    else:
        rest = f * f * f * polynomial(f, LOG_POLYNOMIAL)
    return f - (half_square - k.times_plus(LN2_LOW, rest))


def log_parts(x):
    """Return k and y with log x = k·LN2_HIGH + y for x > 0 (any finite numbers for x = 0, ∞)."""
    scaling = x.form.mantissa_bits + 2
    denormal = x < SMALLEST_NORMAL
    _, k, m = split_exponent(select(denormal, x * 2.0**scaling, x))
    k = k - select(denormal, x.like(scaling), 0.0)
    return k, log_near_one(k, m - 1.0)


def log_lane(x):
    """log x for finite x > 0."""
    k, y = log_parts(x)
    return k.times_plus(LN2_HIGH, y)


def log_of_sum(larger, smaller):
    """log(larger + smaller) for |smaller| ≤ larger, a normal and positive sum.

    The rounding error of the sum joins the reduced argument, where it has its full weight.
    """
    total = larger + smaller
    error = smaller - (total - larger)
    form = total.form
    biased, k, m = split_exponent(total)
    # 2^(1−k), since 2^(−k) has no encoding for the largest k. Its exponent field is all ones minus that of 2ᵏ.
    power = ((biased ^ (2 * form.bias + 1)) << form.mantissa_bits).real
    f = (0.5 * error).times_plus(power, m - 1.0)
    return k.times_plus(LN2_HIGH, log_near_one(k, f))


@lane_function
def log(x):
    """log x, within 1 ulp, denormal arguments included; −∞ at ±0, NaN below."""
    ordinary = select(x < float("inf"), log_lane(x), x)  # ∞ and NaN are their own logarithms
    positive_or_nan = select(x < 0.0, float("nan"), ordinary)
    return select(x.equals(0.0), float("-inf"), positive_or_nan)


@lane_function
def log1p(x):
    """log(1 + x), within 1.5 ulp, also next to zero; −∞ at −1, NaN below."""
    one_is_larger = x < 1.0
    ordinary = log_of_sum(select(one_is_larger, 1.0, x), select(one_is_larger, x, 1.0))
    ordinary = select(x < float("inf"), ordinary, x)
    sized = select(abs(x) < 2.0 ** -(x.form.mantissa_bits + 2), x, ordinary)  # keeps −0
    edge = select(x.equals(-1.0), x.like(float("-inf")), float("nan"))
    return select(x > -1.0, sized, edge)


@lane_function
def softplus(x):
    """log(1 + eˣ) = max(x, 0) + log1p(e^−|x|), within 2 ulp, down to the denormals for very negative x."""
    e = exp_lane(-abs(x))
    rest = log_of_sum(x.like(1.0), e) if x.form is F64 else (e * e).times_plus(polynomial(e, LOG1P_POLYNOMIAL), e)
    return at_least(x, 0.0) + rest


# --- sine and cosine --------------------------------------------------------------------------------------------------

TWO_OVER_PI = 0.6366197723675814
# π/2 as a sum of three (Cody and Waite). With exact products the first step cancels without error and each later one
# rounds at the size of what is left. Each part is rounded down, since a negative one would turn −0 into +0.
HALF_PI_PARTS = (
    Both(f64=1.5707963267948966, f32=1.570796251296997),
    Both(f64=6.123233995736765e-17, f32=7.549789415861596e-08),
    Both(f64=1.0828566739219139e-32, f32=5.390302529957765e-15),
)
# Up to here x·2/π is rounded to the right multiple but for 2⁻⁶, which the range of the polynomials allows for.
TRIG_BOUND = Both(f64=2.0**48, f32=2.0**19)
# (sin r − r)/r³ and (cos r − 1 + r²/2)/r⁴ in r²: minimax on |r| ≤ 0.81 to 1e-17 (f64) and 8e-9 (f32) of the result.
SIN_POLYNOMIAL = Both(
    f64=(
        -0.1666666666666663, 0.008333333333320123, -0.00019841269826993227, 2.755731250644055e-06,
        -2.5050552390386242e-08, 1.5884172012760282e-10,
    ),
    f32=(-0.16666652262210846, 0.008331937715411186, -0.00019482331117615104),
)  # fmt: skip
COS_POLYNOMIAL = Both(
    f64=(
        0.041666666666666644, -0.0013888888888880626, 2.480158729265637e-05, -2.755731502193999e-07,
        2.087578374924527e-09, -1.1361387920268702e-11,
    ),
    f32=(0.041666653007268906, -0.0013887489913031459, 2.4442146241199225e-05),
)  # fmt: skip


def sine_of_quadrant(x, quarter_turns):
    """sin(x + quarter_turns·π/2)."""
    form = x.form
    bounded = at_least(at_most(x, TRIG_BOUND), -x.like(TRIG_BOUND))
    shifted = bounded.times_plus(TWO_OVER_PI, form.round_magic())
    n = shifted - form.round_magic()
    r = bounded
    for part in HALF_PI_PARTS:
        r = n.exact_times_plus(-x.like(part), r)
    z = r * r
    sine = (r * z).times_plus(polynomial(z, SIN_POLYNOMIAL), r).with_sign_of(r)  # −0 would come out as +0
    cosine = z.times_plus(z.times_plus(polynomial(z, COS_POLYNOMIAL), -0.5), 1.0)
    quadrant = shifted.bits + quarter_turns
    unsigned = select(quadrant.has(1), cosine, sine)
    sign = (quadrant & 2) << (form.integer.width - 2)
    return select(abs(x) < float("inf"), (unsigned.bits ^ sign).real, float("nan"))


@lane_function
def sin(x):
    """sin x, within 2 ulp for |x| ≤ 2⁴⁸ (float32: 2¹⁹).

    Beyond, where neighbouring floats are 1/16 and more apart, every finite x gives the sine of the bound on its side.
    """
    return sine_of_quadrant(x, 0)


@lane_function
def cos(x):
    """cos x, within 2 ulp for |x| ≤ 2⁴⁸ (float32: 2¹⁹).

    Beyond, where neighbouring floats are 1/16 and more apart, every finite x gives the cosine of the bound.
    """
    return sine_of_quadrant(x, 1)
