"""The engine behind a socket: ZeroMQ clients, their admission, and `npc-engine serve`.

It knows frames and connections, and of an engine only handle, step and patience. Begin with
`bridge`.
"""
