"""What is to be run: presets, suites, and the cell with its id."""
