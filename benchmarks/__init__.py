"""The engine and the command line: cells, run records, tracking, tables."""
