"""Each turn of a journaled character, on the disk soon after it has ended.

Owns who is due and in which order. It knows no format. Begin with `journaling`, then `pace`,
which says when one is due.
"""
