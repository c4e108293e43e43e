"""bench/talk."""
