"""Requests and replies as MessagePack on the wire, and what is wrong with the ones that are not.

Every record is a name of this room, and so is what makes bytes of it: `from npc_engine.protocol
import Say, pack`. It knows no socket and no engine. The contract is docs/protocol.md. Begin with
`requests`.
"""

from npc_engine.protocol import codec, replies, requests
from npc_engine.protocol.codec import *
from npc_engine.protocol.replies import *
from npc_engine.protocol.requests import *

__all__ = [*requests.__all__, *replies.__all__, *codec.__all__]
