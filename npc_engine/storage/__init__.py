"""Bytes that are safe on a disk: slots, backups, archives, locks, signed snapshots.

It knows no character and no model. Begin with `store`, then `snapshot`.
"""
