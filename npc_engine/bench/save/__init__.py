"""bench/save."""
