"""bench/stream."""
