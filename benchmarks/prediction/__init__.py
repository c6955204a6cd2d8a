"""A new scan through a trained run."""
