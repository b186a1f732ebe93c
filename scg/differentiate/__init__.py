"""Reverse mode, graph to graph."""
