"""cli/top."""
