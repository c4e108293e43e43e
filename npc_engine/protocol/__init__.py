"""Requests and replies as MessagePack on the wire, and what is wrong with the ones that are not.

It knows no socket and no engine. The contract is docs/protocol.md. Begin with `requests`.
"""
