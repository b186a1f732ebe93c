"""Threads of a call that have left their sums meet in machine code, and make the means of both together.

To wake a thread takes as long as making all the means. So who comes first stays awake for a while: mostly the other one
is there within that. Then each takes pieces until none is left. They tell each other by whole numbers that processors
read and write as one: how many have come, and where their sums lie, which pieces are taken, how many are made.
"""

from numba import carray, njit

from scg.large import ADDRESSES, BAD, CAME, GONE, MADE, TAKEN, UNFIT
from scg_numba.finite import all_finite, looked_at
from scg_numba.pipeline import OPTIONS
from scg_numba.products import put_means
from scg_numba.spots import count_up, pointer_like, seen


def meet(notes, own, number, patience, calling, factor, count, means, places, parts, later):
    """Of two ranges, the one of that number has left its sums: when both have, make pieces of their means.

    Piece i has the `places` (where they begin, where they end) from `parts[i]` on. Who comes first looks `patience`
    times whether the other is there; who has no piece left to take, as often whether all are made; and who is not the
    calling thread, whether that has gone. Before, arrays are looked at that are to be finite.
    """
    looked = looked_at(later, own.dtype)
    _meet(notes, own, number, patience, calling, factor, count, means, places, parts, *looked)


@njit(**OPTIONS)
def _meet(notes, own, number, patience, calling, factor, count, means, places, parts, addresses, counts, like, bits):
    notes[ADDRESSES + number] = own.ctypes.data
    came, waited, pieces = count_up(notes, CAME) + 1, 0, len(parts) - 1
    if not all_finite(addresses, counts, like, bits):
        notes[UNFIT] = 1
    while came < 2:
        if waited == patience:
            return
        waited += 1
        came = seen(notes, CAME)
    one = carray(pointer_like(notes[ADDRESSES], own), own.shape)
    other = carray(pointer_like(notes[ADDRESSES + 1], own), own.shape)
    piece = count_up(notes, TAKEN)
    while piece < pieces:
        bad = 0.0
        for p in range(parts[piece], parts[piece + 1]):
            first, stop = places[p, 0], places[p, 1]
            bad += put_means(one[first:stop], other[first:stop], True, factor, count, means[first:stop])
        if bad != 0.0:
            count_up(notes, BAD)
        count_up(notes, MADE)
        piece = count_up(notes, TAKEN)
    waited = 0
    while waited < patience and (seen(notes, MADE) < pieces or not (calling or seen(notes, GONE))):
        waited += 1
