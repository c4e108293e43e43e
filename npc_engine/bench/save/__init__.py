"""What saving costs: the time to restore, bytes a token, a save beside characters that speak.

It knows a saves folder only through an engine. Begin with `parts`.
"""
