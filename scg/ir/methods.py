"""What methods of nodes call: functions that stand in modules above them, which fill this table."""

from __future__ import annotations

from typing import Any

FUNCTIONS: dict[str, Any] = {}


def function(name: str):
    """The function on nodes of that name."""
    return FUNCTIONS[name]
