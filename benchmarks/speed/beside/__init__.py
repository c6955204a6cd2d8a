"""Ours beside the straightforward way, in turns."""
