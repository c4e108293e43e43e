"""What one character has been told and has said, as segments of tokens over a KV sequence.

Owns persona, turns, the open one, what is overheard, pins, and how all this is taken back. It knows
no model, no batch and no client. Begin with `dialogue`, then `open_turn`.
"""
