"""A table as text: one file per renderer, each of which has `render(tables)`; the terminal has a table of its own."""
