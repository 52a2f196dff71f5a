"""Decisions: pure functions, values in and values out."""
