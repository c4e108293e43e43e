"""npc-engine inspect: what a save holds, and the window of a living character.

It reads and draws, and writes nothing. Begin with `saved` and `live`.
"""
