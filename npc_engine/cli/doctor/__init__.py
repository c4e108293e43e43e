"""npc-engine doctor: what this computer, this build and this model can do, in words.

It measures and explains; it changes nothing. Begin with `command`.
"""
