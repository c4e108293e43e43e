"""The user's verbs: spawn, say, hear, attend, event, scene, pin, save, load, despawn, list...

Owns their arguments and defaults. It knows no socket and no engine: `zmq_client.Client` and
`in_process.Engine` supply `_send` and `_receive`, and are used alike.

Errors of every verb: the RequestError that the engine's `error` stands for; BadMessage for
arguments that the protocol does not allow; ConnectionLost when the engine is silent for longer
than `timeout` seconds. One thread at a time may use a Verbs object and its speeches.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal

from npc_engine import protocol as m
from npc_engine.cards.card import Card
from npc_engine.cards.shapes import sendable
from npc_engine.client.mailbox import Mailbox
from npc_engine.client.speech import Conversation, Speech

__all__ = ["FILE_TIMEOUT_S", "SAY_TIMEOUT_S", "TIMEOUT_S", "Verbs"]

TIMEOUT_S = 30.0
SAY_TIMEOUT_S = 60.0  # a slow machine that reads a long line first
FILE_TIMEOUT_S = 120.0


class Verbs(Mailbox):
    """What a game can ask of an engine. `npc` names are 1-64 of `A-Za-z0-9_.-`, no dot first."""

    def spawn(
        self,
        npc: str,
        card: Card | Mapping[str, Any] | str | PathLike[str],
        *,
        sampling: Mapping[str, Any] | None = None,
        window: int | None = None,
        restore: str | None = None,
        restore_card: Literal["new", "saved"] = "new",
        timeout: float = TIMEOUT_S,
    ) -> m.Spawned:
        """Bring a character to life from a card, its map, or the path of a card file.

        `sampling` takes the names of `config.Sampling`; `window` is in tokens, persona included;
        `restore` is a save slot to go on from, if it holds this character. What else is given
        counts then, too; with `restore_card="saved"` all but the card.
        Raises CardError, NpcExists, TooLarge, and what every verb raises.
        """
        if not isinstance(card, Card | Mapping):
            card = Card.load(card)
        fields = sendable(card.to_map() if isinstance(card, Card) else card)
        chosen = None if sampling is None else dict(sampling)
        request = m.Spawn(
            id=self._new_id(),
            npc=npc,
            card=fields,
            sampling=chosen,
            window=window,
            restore=restore,
            restore_card=restore_card,
        )
        return self._ask(request, m.Spawned, timeout)

    def say(
        self,
        npc: str,
        text: str,
        *,
        speaker: str = "Player",
        priority: Literal["player", "near", "ambient"] = "player",
        max_tokens: int | None = None,
        stream: Sequence[Literal["text", "line", "gesture"]] = ("line",),
        notes: Sequence[str] = (),
        timeout: float = SAY_TIMEOUT_S,
    ) -> Speech:
        """Say something to a character and return its reply, to be iterated as it comes.

        `stream` says which records come: `Line` (one spoken sentence), `Gesture` (a stage
        direction, never spoken), `Text` (as decoded). `max_tokens` bounds the reply, `notes` are
        texts that count for this turn alone, `timeout` is the longest silence in seconds. An error,
        such as UnknownNpc, comes out of the Speech.
        """
        request = m.Say(
            id=self._new_id(),
            npc=npc,
            text=text,
            speaker=speaker,
            priority=priority,
            max_tokens=max_tokens,
            stream=list(stream),
            notes=_listed(notes),
        )
        self._post(request)
        return Speech(self, request.id, timeout)

    def hear(
        self, npc: str, text: str, *, speaker: str = "Player", timeout: float = TIMEOUT_S
    ) -> None:
        """Let a character read the player's line so far, whole, ahead of the `say`.

        Returns at once; the reading is done in idle time.
        """
        self._ask(m.Hear(id=self._new_id(), npc=npc, text=text, speaker=speaker), m.Ok, timeout)

    def attend(self, npc: str, *, timeout: float = TIMEOUT_S) -> None:
        """Tell that a character is about to be spoken to: the player comes near, or looks at it.

        It gets its place in the KV cache now, and what it has not read yet is read first.
        """
        self._ask(m.Attend(id=self._new_id(), npc=npc), m.Ok, timeout)

    def event(
        self,
        text: str,
        npcs: str | Sequence[str] = "*",
        importance: float = 0.5,
        expires_s: float | None = None,
        *,
        timeout: float = TIMEOUT_S,
    ) -> int:
        """Let characters ("*": all) perceive something; return how many did. Nobody answers.

        `importance` is from 0 to 1; after `expires_s` seconds an unread event is forgotten.
        """
        request = m.Event(
            id=self._new_id(),
            npcs="*" if npcs == "*" else _listed(npcs),
            text=text,
            importance=importance,
            expires_s=expires_s,
        )
        return self._ask(request, m.Ok, timeout).n_heard or 0

    def scene(
        self,
        scene: str,
        npcs: Sequence[str],
        about: str = "",
        *,
        turns: int = 8,
        first: str | None = None,
        priority: Literal["player", "near", "ambient"] = "ambient",
        max_tokens: int | None = None,
        stream: Sequence[Literal["text", "line", "gesture"]] = ("line",),
        timeout: float = SAY_TIMEOUT_S,
    ) -> Conversation:
        """Let characters talk with each other, and return what they say, to be iterated.

        `scene` is its name, for `join` and `leave`; `about` what they talk about ("the missing
        bread"); `turns` how many of them there are, 64 at most; `first` who begins. `max_tokens`
        bounds each turn. The player takes part by a `say` to one of them. An error, such as Busy
        for a character that is in another scene, comes out of the Conversation.
        """
        request = m.Scene(
            id=self._new_id(),
            scene=scene,
            npcs=_listed(npcs),
            about=about,
            turns=turns,
            first=first,
            priority=priority,
            max_tokens=max_tokens,
            stream=list(stream),
        )
        self._post(request)
        return Conversation(self, request.id, timeout)

    def join(self, scene: str, npc: str, *, timeout: float = TIMEOUT_S) -> None:
        """Let a character take part in a scene. Raises UnknownTarget when there is none such."""
        self._ask(m.Join(id=self._new_id(), scene=scene, npc=npc), m.Ok, timeout)

    def leave(self, scene: str, npc: str, *, timeout: float = TIMEOUT_S) -> None:
        """Let a character leave a scene; with fewer than two left it ends."""
        self._ask(m.Leave(id=self._new_id(), scene=scene, npc=npc), m.Ok, timeout)

    def pin(
        self,
        npc: str,
        text: str | None = None,
        *,
        turn: int | None = None,
        timeout: float = SAY_TIMEOUT_S,
    ) -> m.Pinned:
        """Let a character never forget a fact in words, or a turn (the `turn` of a `Done`).

        The answer comes when it has finished the line it is speaking. Its `turn` is what `unpin`
        takes. Raises TooLarge when the budget for pins is full, UnknownTarget for a turn that has
        left the window.
        """
        request = m.Pin(id=self._new_id(), npc=npc, text=text, turn=turn)
        return self._ask(request, m.Pinned, timeout)

    def unpin(self, npc: str, turn: int, *, timeout: float = SAY_TIMEOUT_S) -> None:
        """Let a pinned turn age like any other. Raises UnknownTarget when it is not pinned."""
        self._ask(m.Unpin(id=self._new_id(), npc=npc, turn=turn), m.Ok, timeout)

    def rewind(
        self,
        npc: str,
        turns: int | None = None,
        *,
        to_turn: int | None = None,
        timeout: float = SAY_TIMEOUT_S,
    ) -> m.Rewound:
        """Let a character forget its last `turns`, or all behind `to_turn` (of a `Done`).

        They never were, for it: what it perceived since and what was pinned of them is forgotten,
        too. The answer comes when it has finished the line it is speaking. Raises UnknownTarget for
        a turn that is not over.
        """
        request = m.Rewind(id=self._new_id(), npc=npc, turns=turns, to_turn=to_turn)
        return self._ask(request, m.Rewound, timeout)

    def save(
        self,
        slot: str,
        npcs: Sequence[str] | None = None,
        mode: Literal["full", "journal"] = "full",
        *,
        timeout: float = FILE_TIMEOUT_S,
    ) -> m.Saved:
        """Save characters (None: all) into a slot, in the place of what it held.

        With `journal`, what happens to them from then on goes there, too, as it happens.
        """
        chosen = None if npcs is None else _listed(npcs)
        request = m.Save(id=self._new_id(), slot=slot, npcs=chosen, mode=mode)
        return self._ask(request, m.Saved, timeout)

    def load(
        self, slot: str, npcs: Sequence[str] | None = None, *, timeout: float = FILE_TIMEOUT_S
    ) -> m.Loaded:
        """Load characters (None: all of the slot) in the place of those of the same names."""
        chosen = None if npcs is None else _listed(npcs)
        return self._ask(m.Load(id=self._new_id(), slot=slot, npcs=chosen), m.Loaded, timeout)

    def despawn(self, npc: str, *, timeout: float = TIMEOUT_S) -> None:
        """Take a character out of the engine; what is not saved is lost."""
        self._ask(m.Despawn(id=self._new_id(), npc=npc), m.Ok, timeout)

    def list_npcs(self, *, timeout: float = TIMEOUT_S) -> list[m.NpcInfo]:
        """Return every character, with how full its window is."""
        return self._ask(m.List(id=self._new_id()), m.Npcs, timeout).npcs

    def window(self, npc: str, *, timeout: float = TIMEOUT_S) -> m.WindowReply:
        """Return what a character's window holds: segments, cells, positions."""
        return self._ask(m.Window(id=self._new_id(), npc=npc), m.WindowReply, timeout)

    def transcript(
        self, npc: str, last: int | None = None, *, timeout: float = TIMEOUT_S
    ) -> m.TranscriptReply:
        """Return the talk as a character remembers it, as text; `last`: its newest turns only."""
        request = m.Transcript(id=self._new_id(), npc=npc, last=last)
        return self._ask(request, m.TranscriptReply, timeout)

    def stats(self, *, timeout: float = TIMEOUT_S) -> dict[str, Any]:
        """Return the engine's counters."""
        return self._ask(m.Stats(id=self._new_id()), m.StatsReply, timeout).stats

    def ping(self, *, timeout: float = TIMEOUT_S) -> None:
        """Return when the engine has answered."""
        self._ask(m.Ping(id=self._new_id()), m.Pong, timeout)


def _listed(texts: str | Sequence[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)
