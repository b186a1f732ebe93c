"""The Numba backend: kernels from programs, and what kernels call."""
