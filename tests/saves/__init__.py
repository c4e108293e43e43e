"""Saves of every version of the format, for `tests/system/test_old_saves.py`."""
