"""cli/chat."""
