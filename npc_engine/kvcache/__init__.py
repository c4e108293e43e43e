"""Which tokens stand in which cells, and what is evicted, shifted or parked.

Arithmetic over token lists and positions; llama.cpp is a protocol here, `Cache`. It knows no turns'
meaning. Begin with `ledger`, then `sequence`.
"""
