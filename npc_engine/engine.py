"""The heart: requests in, replies out, and one step at a time between them.

Owns the loop's three calls. It knows no socket, prints nothing, and takes the time from a clock
that it is given.

    handle(message)   notes what is asked; never blocks, never raises for a bad request
    step()            schedule -> decode one batch -> sample -> records; returns replies
    patience()        how long the loop may wait for messages before the next step

Every request gets exactly one terminal reply, whatever happens. Requests of one client to one
character are served in their order: while it speaks, what follows waits in its inbox.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from npc_engine import protocol as m
from npc_engine.characters.replies import Why
from npc_engine.characters.requests import Requests
from npc_engine.characters.stage import Stage, StageBackend
from npc_engine.config import Settings
from npc_engine.errors import BackendError, Internal, NpcError
from npc_engine.saving.restore.held_requests import HeldRequests
from npc_engine.saving.restore.spawning import Spawning
from npc_engine.saving.saving import Saving
from npc_engine.scheduling.batching import Claim
from npc_engine.scheduling.scheduler import Batch, Scheduler
from npc_engine.scheduling.threads import Threads
from npc_engine.storage.writer import WriterThread
from npc_engine.text.chat_format import ChatFormat
from npc_engine.version import __version__

__all__ = ["LOCAL", "Backend", "EngineCore"]

log = logging.getLogger("npc_engine")

LOCAL = b""
"""The client that stands for calls in process."""

CLOSE_TIMEOUT_S = 1.5  # for file writes under way when the engine is closed

Answer = Callable[[bytes, Any], m.Reply | None]


class Backend(StageBackend, Protocol):
    """What the engine asks of llama.cpp. `context.Llama` and the tests' FakeLlama meet it."""

    @property
    def n_batch(self) -> int:
        """Most tokens in one decode."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Facts for people and programs: `model`, `layout`, `fingerprint`, `kv_bytes`..."""

    def decode(self, spans: Sequence[Any]) -> list[int]:
        """Decode (slot, first position, tokens, logits?) runs; return the last row of each."""

    def set_threads(self, n: int) -> None:
        """Run what is decoded from now on on so many threads."""

    def close(self) -> None:
        """Free everything."""


class EngineCore:
    """Many characters over one backend. `client.in_process.Engine` is the way in for a game."""

    def __init__(
        self,
        backend: Backend,
        chat_format: ChatFormat,
        settings: Settings | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
        threads: Threads | None = None,
        load: Callable[[], float | None] = lambda: None,
    ) -> None:
        """`threads`: what chooses their number; by default it stays the backend's.

        `load`: how many cores other programs take, if anybody knows.
        """
        self.settings = settings = settings or Settings()
        self.backend = backend
        self._clock = clock
        self._started = clock()
        self._n_threads: int = backend.about["n_threads"]
        self._outbox: list[tuple[bytes, m.Reply]] = []
        self._rests = False
        self._closed = False
        self._files = WriterThread()
        self.stage = Stage(backend, chat_format, settings, self._post_reply, clock, self._files.run)
        self._requests = Requests(self.stage)
        self.scheduler = Scheduler(
            settings.step_ms,
            backend.n_batch,
            clock,
            ambient_share=settings.ambient_share,
            threads=threads or Threads(self._n_threads),
            load=load,
        )
        self._held = HeldRequests(self._post_reply, clock)
        self.stage.paused = self._held.blocked
        self._saving = Saving(
            self.stage,
            backend.about,
            self.scheduler,
            self._held,
            self._files,
            self._post_reply,
            clock,
        )
        self._answers = self._who_answers()

    def _who_answers(self) -> dict[type[m.Request], Answer]:
        """What is called with each kind of request."""
        requests, scenes, saving = self._requests, self.stage.scenes, self._saving
        spawning = Spawning(self.stage, saving)
        return {
            m.Hello: self._welcome,
            m.Spawn: spawning.spawn,
            m.Say: requests.say,
            m.Hear: requests.hear,
            m.Attend: requests.attend,
            m.Event: requests.event,
            m.Cancel: self._cancel,
            m.Scene: requests.scene,
            m.Join: scenes.join,
            m.Leave: scenes.leave,
            m.Pin: requests.keep,
            m.Unpin: requests.keep,
            m.Rewind: requests.keep,
            m.Save: saving.save,
            m.Load: saving.load,
            m.Despawn: spawning.despawn,
            m.List: requests.list,
            m.Window: requests.show_window,
            m.Transcript: requests.show_transcript,
            m.Stats: lambda _client, request: m.StatsReply(id=request.id, stats=self.stats()),
            m.Ping: lambda _client, request: m.Pong(id=request.id),
        }

    def handle(self, message: m.Request, client: bytes = LOCAL) -> None:
        """Take in a request; its replies come out of `step`."""
        self._rests = False
        try:
            if self._closed:  # the KV cache is freed: nobody may touch it any more
                raise Internal("The engine is closed.", "Open another one.")
            if self._held.takes(client, message):
                return
            reply = self._answers[type(message)](client, message)
        except NpcError as error:
            reply = m.error_reply(error, message.id)
        except Exception:
            log.exception("%s failed", type(message).__name__)
            reply = m.error_reply(
                Internal("The engine failed at this request.", "Its log has the details."),
                message.id,
            )
        if reply is not None:
            self._post_reply(client, reply)

    def step(self) -> list[tuple[bytes, m.Reply]]:
        """Do a bounded piece of work; return the replies that are due, with their clients."""
        if self._closed:
            return self._take_outbox()
        tidied = self.stage.tidy()  # in a pause: win positions back
        claims = self.stage.claims()  # serve the inboxes, give slots
        batch = self.scheduler.schedule(claims, self.stage.standing)  # decode rows, then prefill
        self._rests = not (batch or tidied or self.stage.has_more or _are_served(claims))
        if batch and (rows := self._decode(batch)):  # one call for all characters
            self.stage.take_in(batch, rows)  # ledgers, samples, records
            self.scheduler.note(batch)  # what it took: threads, chunk size, ambient pause
        if self._saving.step(batch.is_line):  # copies, journals, answers of saves
            self._handle_held()  # somebody may have come on the stage
        return self._take_outbox()

    def _decode(self, batch: Batch) -> list[int]:
        """Return the last row of each run; none where it failed, and all have their answer."""
        if batch.n_threads != self._n_threads:
            self._n_threads = batch.n_threads
            self.backend.set_threads(batch.n_threads)
        try:
            rows = self.backend.decode(batch.spans())
        except BackendError as error:
            log.error("decode failed: %s", error)
            self.stage.fail(batch, error)
            return []
        batch.decoded = self._clock()
        return rows

    def _handle_held(self) -> None:
        """Take in what has waited for a load; what waits for the next one waits on."""
        self._rests = False
        for client, message in self._held.release():
            self.handle(message, client)

    def patience(self) -> float | None:
        """Return the seconds that the loop may wait for messages: 0 = there is work now."""
        if self._outbox:
            return 0.0
        if self._closed:
            return None
        if not self._rests:
            return 0.0
        waits = (self._saving.patience(), self.scheduler.patience())
        return min((wait for wait in waits if wait is not None), default=None)

    def drop(self, client: bytes, reason: Why) -> None:
        """Cut short every open `say` of a client; their `done` comes out of `step`."""
        self._rests = False
        self._held.drop(client, "slow_client" if reason == "slow_client" else "cancelled")
        self.stage.drop(client, reason)

    def close(self) -> list[tuple[bytes, m.Reply]]:
        """Answer whatever is open, finish file writes (bounded), free the model."""
        if self._closed:
            return []
        self._held.blocked.clear()  # nobody comes any more
        self._handle_held()
        self.stage.tell_all()
        self._closed = True
        self.stage.drop(None, "cancelled")
        self.stage.parking.stop()
        self._saving.close(CLOSE_TIMEOUT_S)  # it may read what is parked
        if not self._files.is_closed:
            self._files.close(CLOSE_TIMEOUT_S)
        self.stage.parking.close()
        self.backend.close()
        return self._take_outbox()

    def _take_outbox(self) -> list[tuple[bytes, m.Reply]]:
        out, self._outbox = self._outbox, []
        return out

    def _post_reply(self, client: bytes, reply: m.Reply) -> None:
        self._outbox.append((client, reply))

    def _cancel(self, client: bytes, request: m.Cancel) -> m.Reply:
        if self._held.cancel(client, request.target):
            self._requests.use_again(client, request.target)
            return m.Ok(id=request.id, cancelled=True)
        return self._requests.cancel(client, request)

    def _model_facts(self) -> dict[str, Any]:
        notice = self.stage.chat_format.notice
        return {**self.backend.about["model"], **({"notice": notice} if notice else {})}

    def _welcome(self, _client: bytes, request: m.Hello) -> m.Reply:
        s = self.settings
        return m.Welcome(
            id=request.id,
            protocol=m.PROTOCOL_VERSION,
            engine=__version__,
            model=self._model_facts(),
            limits={
                "max_message_bytes": s.max_message_bytes,
                "max_open_requests": s.max_open_requests,
                "max_queue": s.max_queue,
                "max_events": s.max_events,
                "max_tokens": s.max_tokens,
                "max_npcs": s.max_npcs,
                "slots": self.backend.n_slots,
                "window": self.stage.window,
            },
            npcs=sorted(self.stage.characters),
        )

    def stats(self) -> dict[str, Any]:
        """Return counts, speeds and sizes, as `stats` answers them."""
        about = self.backend.about
        return {
            **self.stage.counts(),
            **self.scheduler.stats(),
            **self._saving.stats(),
            "layout": about["layout"],
            "model_bytes": about["model_bytes"],
            "kv_bytes": about["kv_bytes"],
            "uptime_s": self._clock() - self._started,
        }


def _are_served(claims: list[Claim]) -> bool:
    """Whether all who have slots got what they wanted without a batch: others may take them."""
    return bool(claims) and not any(claim.sequence.n_pending for claim in claims)
