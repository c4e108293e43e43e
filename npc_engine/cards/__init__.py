"""Character Cards V1 to V3, in every file they come in, and the characters that ship with us.

Owns what a card may hold and what of it is told to a model. It knows no tokens. Begin with `card`,
then `files`.
"""
