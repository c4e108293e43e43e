"""cli/saves."""
