"""saving/journal."""
