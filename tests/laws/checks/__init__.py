"""The laws, as functions that raise `AssertionError`: the tests apply them to the registries, and to planted errors."""
