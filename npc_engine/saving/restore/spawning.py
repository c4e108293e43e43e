"""`spawn` and `despawn`: how characters come, new from their cards or as they were saved, and go.

Owns what is answered. It knows no batch and no byte of a file.
"""

from npc_engine import protocol as m
from npc_engine.characters.stage import Stage
from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.errors import BadMessage
from npc_engine.kvcache.ledger import Kind
from npc_engine.saving.restore.amend import Wanted
from npc_engine.saving.restore.arrivals import Arrival
from npc_engine.saving.restore.restoring import Restored
from npc_engine.saving.saving import Saving
from npc_engine.text.chat_format import clean

__all__ = ["Spawning"]


class Spawning:
    """Brings characters onto a stage, and takes them off it."""

    def __init__(self, stage: Stage, saving: Saving) -> None:
        self._stage = stage
        self._saving = saving

    def spawn(self, client: bytes, request: m.Spawn) -> m.Reply | None:
        """Bring a character to life; with `restore` the answer comes once that slot is written."""
        if request.restore_card not in ("new", "saved"):  # a Struct made in Python is not validated
            raise BadMessage(f"restore_card is {request.restore_card!r}.", "It is new or saved.")
        # Made in any case: a bad card is an error also where a save takes its place.
        npc, greeting = self._stage.create(request)
        if not request.restore:
            self._stage.add(npc)
            return self._spawned(request, npc, greeting=greeting)

        wanted = Wanted(
            npc,
            sampling=request.sampling is not None,
            window=request.window is not None,
            card=request.restore_card == "new",
        )

        def restored(came: dict[str, Restored]) -> m.Reply:
            return self._restored(request, npc, greeting, came.get(request.npc))

        arrival = Arrival(client, request.id, request.restore, [request.npc], restored, wanted)
        self._saving.bring(arrival)
        return None

    def _restored(
        self, request: m.Spawn, dialogue: Dialogue, greeting: str, found: Restored | None
    ) -> m.Reply:
        self._stage.check_new(request.npc)  # it may have come while a save was written
        if found is None:
            self._stage.add(dialogue)
            notice = f"The save {request.restore!r} does not hold {request.npc!r}: it begins anew."
            return self._spawned(request, dialogue, greeting=greeting, notice=notice)
        self._stage.add(found[0])
        return self._spawned(request, found[0], restored=True, notice=found[2])

    def _spawned(
        self,
        request: m.Spawn,
        dialogue: Dialogue,
        *,
        restored: bool = False,
        greeting: str = "",
        notice: str | None = None,
    ) -> m.Reply:
        notices = [notice, *dialogue.card.notices, _of_greeting(dialogue, greeting)]
        return m.Spawned(
            id=request.id,
            npc=dialogue.name,
            n_pinned=dialogue.ledger.n_pinned,
            n_shared=self._stage.prefix_cache.n_shared(dialogue.name),
            restored=restored,
            greeting=greeting,
            notice=" ".join(filter(None, notices)) or None,
        )

    def despawn(self, _client: bytes, request: m.Despawn) -> m.Reply:
        """Take a character off the stage."""
        self._stage.find(request.npc)
        # A save that was asked for before has the character still.
        self._saving.leaving(request.npc)
        self._stage.remove(request.npc)
        self._saving.left(request.npc)
        return m.Ok(id=request.id)


def _of_greeting(dialogue: Dialogue, greeting: str) -> str | None:
    """What there is to say of a greeting that is shown whole and remembered otherwise."""
    words = clean(greeting)
    if not words or any(s.text == words for s in dialogue.ledger.segments if s.kind is Kind.REPLY):
        return None
    return (
        f"first_mes is too long for a window of {dialogue.ledger.window} tokens: how it begins and "
        "how it ends is remembered."
    )
