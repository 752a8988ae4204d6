"""See the README of the folder above."""

__version__ = "stand-in"
