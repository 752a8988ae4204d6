"""Neural networks that estimate force constants from spectra."""
