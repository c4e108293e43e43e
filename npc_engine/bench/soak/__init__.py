"""Hours of everything that players may do, and whether memory, words or speed give way.

It knows the engine through its requests alone. Begin with `soak`.
"""
