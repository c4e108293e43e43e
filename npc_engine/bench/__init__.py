"""npc-engine bench|tune: measurements on the user's own machine and model.

A room for each, over `shared`. Nothing but the command line knows that they exist: a game
may leave this folder out. Begin with `shared`, then with a measurement's `command`.
"""
