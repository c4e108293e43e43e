"""Saves of every version of the format, for `tests/test_old_saves.py`."""
