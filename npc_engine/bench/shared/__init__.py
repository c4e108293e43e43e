"""bench/shared."""
