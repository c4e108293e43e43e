"""An endless talk: our side of it, and what one would write instead (the baseline).

It knows the engine as a game does. Begin with `command`.
"""
