"""Run records: a cell's folder, each file of it written whole or not at all."""
