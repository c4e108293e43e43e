"""npc-engine top: a running engine at a glance, over and over.

It knows an engine only by what `stats` answers. Begin with `command`, then `picture`,
which is what one sees.
"""
