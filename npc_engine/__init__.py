"""NPC Engine: characters that talk, on the player's own machine.

`Engine` runs a model in this process, `Client` talks to `npc-engine serve`, `Sidecar` starts that.
Importing the package is quick: each of them is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from npc_engine.version import __version__

if TYPE_CHECKING:
    from npc_engine.cards.card import Card
    from npc_engine.client.in_process import Engine
    from npc_engine.client.sidecar import Sidecar
    from npc_engine.client.speech import Conversation, Speech
    from npc_engine.client.zmq_client import Client
    from npc_engine.errors import NpcError
    from npc_engine.protocol import (
        Done,
        Gesture,
        Line,
        Loaded,
        NpcInfo,
        Pinned,
        Rewound,
        Saved,
        SceneDone,
        Spawned,
        Text,
        TranscriptReply,
        Turn,
        WindowReply,
    )

__all__ = [
    "Card",
    "Client",
    "Conversation",
    "Done",
    "Engine",
    "Gesture",
    "Line",
    "Loaded",
    "NpcError",
    "NpcInfo",
    "Pinned",
    "Rewound",
    "Saved",
    "SceneDone",
    "Sidecar",
    "Spawned",
    "Speech",
    "Text",
    "TranscriptReply",
    "Turn",
    "WindowReply",
    "__version__",
]

_HOME = {
    "Card": "npc_engine.cards.card",
    "Client": "npc_engine.client.zmq_client",
    "Conversation": "npc_engine.client.speech",
    "Done": "npc_engine.protocol",
    "Engine": "npc_engine.client.in_process",
    "Gesture": "npc_engine.protocol",
    "Line": "npc_engine.protocol",
    "Loaded": "npc_engine.protocol",
    "NpcError": "npc_engine.errors",
    "NpcInfo": "npc_engine.protocol",
    "Pinned": "npc_engine.protocol",
    "Rewound": "npc_engine.protocol",
    "Saved": "npc_engine.protocol",
    "SceneDone": "npc_engine.protocol",
    "Sidecar": "npc_engine.client.sidecar",
    "Spawned": "npc_engine.protocol",
    "Speech": "npc_engine.client.speech",
    "Text": "npc_engine.protocol",
    "TranscriptReply": "npc_engine.protocol",
    "Turn": "npc_engine.protocol",
    "WindowReply": "npc_engine.protocol",
}


def __getattr__(name: str) -> Any:
    """Load a public name on its first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
