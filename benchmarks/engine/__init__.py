"""One cell, from nothing to its numbers."""
