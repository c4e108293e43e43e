"""npc-engine saves: list, verify, prune, export and import slots.

It knows no engine and no model: only files. Begin with `command`.
"""
