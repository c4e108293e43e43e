"""text/jinja."""
