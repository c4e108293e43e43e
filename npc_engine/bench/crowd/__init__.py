"""bench/crowd."""
