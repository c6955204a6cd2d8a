"""Whole downloads: recognised and prepared."""
