"""What the next batch holds, and what it runs on: slots, prefix cache, threads, chunk size.

It knows claims, not characters, and no text. Begin with `batching`, whose rules
say what may be in a batch, then `scheduler`, which makes it, and `slots`.
"""
