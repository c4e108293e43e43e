"""Characters to files and back, while others speak.

Owns when who is saved and what a state holds; `storage` knows how bytes become safe. It knows no
socket. Begin with `saving`; `journal` follows each turn, `restore` brings characters back.
"""
