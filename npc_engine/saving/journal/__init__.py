"""Each turn of a followed character onto the disk soon after it ended.

Owns who is due and in which order. It knows no format. Begin with `journaling`.
"""
