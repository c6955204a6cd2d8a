"""One scan: its file, grid, brain, registration and preparation."""
