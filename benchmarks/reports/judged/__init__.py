"""Judgements of finished cells: which are meant, and how they are shown."""
