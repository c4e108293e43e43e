"""Characters that talk with each other: who is present, who hears what, who speaks next.

It knows its members by a protocol, and no tokens. Begin with `scene`.
"""
