"""Rewrite rules, as tables of one line each, and the driver that applies them."""
