"""npc-engine chat and demo: a talk in the terminal.

It talks through a client, as a game does, and knows no engine inside. Begin with `loop`, then
`talk`.
"""
