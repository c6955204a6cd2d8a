"""Prepared volumes, memory-mapped."""
