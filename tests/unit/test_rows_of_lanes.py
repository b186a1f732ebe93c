"""What each row of a tile has, spread over the row's lanes: no element beside those is written."""

import numpy as np
import pytest
from scg_numba.products import RUN, spread_rows


@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 5, 8, 10, RUN, RUN + 1, 50])
@pytest.mark.parametrize("rows", [1, 2, 5, 33])
@pytest.mark.parametrize("padding", [0, 1, 7, 63])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_lane_has_what_its_row_has(lanes, rows, padding, dtype):
    """Lanes that pad the tile are like the last; rows lie apart in the source."""
    source = np.arange(1, 3 * rows + 2, dtype=dtype)
    room = np.full(rows * lanes + padding + 2 * RUN, -1, dtype)
    target = room[RUN : RUN + rows * lanes + padding]
    spread_rows(target, source, 1, 3, rows, lanes)
    right = np.repeat(source[1::3][:rows], lanes)
    np.testing.assert_array_equal(target, np.append(right, np.full(padding, right[-1])))
    np.testing.assert_array_equal(room[:RUN], -1)
    np.testing.assert_array_equal(room[RUN + target.size :], -1)
