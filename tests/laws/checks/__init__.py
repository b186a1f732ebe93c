"""The laws, as functions that raise `AssertionError`: the tests apply them to the registries, and to planted errors."""

from __future__ import annotations

from collections.abc import Mapping


def shipped(registry: Mapping[str, type]) -> dict[str, type]:
    """What the package itself registered; tests register things of their own."""
    return {name: cls for name, cls in registry.items() if cls.__module__.startswith("scg.")}


def parametric(registry: Mapping[str, type]) -> dict[str, type]:
    """Of the package's families those that parameters determine; `test_families_with_data` tries the others."""
    return {name: cls for name, cls in shipped(registry).items() if "hold" not in cls.__dict__}
