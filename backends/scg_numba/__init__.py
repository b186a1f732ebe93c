"""The Numba backend: programs as tile kernels, one readable module each, compiled once and cached on disk."""

from scg_numba.kernel import compile as compile
