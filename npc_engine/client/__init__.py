"""Ways in for a program in Python, all with the same verbs.

It knows requests and records, and nothing of what answers them. Begin with `verbs`.
"""
