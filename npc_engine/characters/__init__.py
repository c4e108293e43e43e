"""Living characters: what each is asked, what it is saying, and all of them on one stage.

It knows dialogues and slots, and no socket and no file. Begin with `character`, then `stage`,
and `requests` for what a game may ask of them.
"""
