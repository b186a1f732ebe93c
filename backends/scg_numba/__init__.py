"""The Numba backend: programs as tile kernels, one readable module each, compiled once and cached on disk."""

from scg_numba.kernel import compile as compile
from scg_numba.kernel import out_of_use as out_of_use
from scg_numba.stored import clear as clear_cache  # noqa: F401
from scg_numba.stored import info as cache_info  # noqa: F401
from scg_numba.stored import recall as recall
from scg_numba.stored import remember as remember
