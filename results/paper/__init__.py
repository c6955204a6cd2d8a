"""The figures that others published, as CSV: for comparison, never as results of this benchmark."""
