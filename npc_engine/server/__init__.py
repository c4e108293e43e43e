"""The engine behind a socket: ZeroMQ clients, their admission, and `npc-engine serve`.

What strangers send is refused where it is understood: bytes by `zmtp`, what all together may cost
by `stream_socket`, a message by `admission`. It knows frames and connections, and of an engine only
handle, step and patience. Begin with `bridge`.
"""
