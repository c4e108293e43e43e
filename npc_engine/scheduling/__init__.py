"""What the next batch holds, and what it runs on: slots, prefix cache, threads, chunk size.

It knows claims, not characters, and no text. Begin with `batching`, then `slots`.
"""
