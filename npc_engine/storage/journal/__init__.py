"""storage/journal."""
