"""Journals: files that only grow, each record safe by itself.

Owns their records and their fsyncs. It knows no character. Begin with `records`.
"""
