"""Places in memory that machine code is given as addresses, and whole numbers that several threads read and write."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _element(context, builder, signature, args):
    """The place of one whole number."""
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    return builder.gep(data, [context.cast(builder, args[1], signature.args[1], types.intp)], inbounds=True)


@intrinsic
def count_up(typingctx, array, i):
    """Add 1 to a number that others may be adding to; what it was."""

    def codegen(context, builder, signature, args):
        one = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", _element(context, builder, signature, args), one, "seq_cst")

    return types.int64(array, i), codegen


@intrinsic
def seen(typingctx, array, i):
    """A number that others may be writing."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(_element(context, builder, signature, args), "seq_cst", 8)

    return types.int64(array, i), codegen


@intrinsic
def pointer_like(typingctx, address, array):
    """A pointer to that address, of elements like an array's."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(array.dtype)(address, array), codegen
