"""saving/restore."""
