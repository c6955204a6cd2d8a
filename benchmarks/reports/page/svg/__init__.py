"""Figures as inline SVG, drawn by hand: no library, and colours that the page's style sheet decides on."""
