"""npc-engine bench|tune: measurements on the user's own machine and model.

A room for each, over `shared`. Nothing but the command line and `doctor` knows that they exist: a
game may leave this folder out. Begin with `commands`.
"""
