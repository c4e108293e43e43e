"""What one character has been told and has said, as segments of tokens over a KV sequence.

Owns the open turn, what is overheard, pins and history. It knows no model, no batch and no client.
Begin with `dialogue`.
"""
