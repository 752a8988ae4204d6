"""Figures, the HTML report, and a look at a file before anything is fitted."""
