"""Broken and hostile files for every reader, and what becomes of them.

``PYTHONPATH=tests python -m hostile`` tries all of them and prints a table.
"""
