"""bench/soak."""
