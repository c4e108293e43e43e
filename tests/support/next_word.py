"""What a model would say next: by the cache that an engine has, and by one that is read afresh."""

import time
from typing import Any

from npc_engine.client.in_process import Engine
from npc_engine.kvcache.ledger import Kind
from npc_engine.llama.context import Llama, Span
from npc_engine.llama.model import Layout, Model
from tests.support.real import Twin

WINDOW = 256
TIMEOUT_S = 60.0
MOST_KL = 0.001  # a float32 cache: what differs more than by rounding is wrong


def next_distribution(engine: Engine, backend: Twin, name: str) -> tuple[list[int], Any]:
    """Say something; return all that the character had read when it began to speak, and with
    which distribution it did.
    """
    known = set(backend.heard)
    deadline = time.monotonic() + TIMEOUT_S
    speech = engine.say(name, "Sorry, go on.", max_tokens=24)
    while not (new := backend.heard.keys() - known):
        assert time.monotonic() < deadline
        engine.poll()
    ledger = engine.core.stage.characters[name].dialogue.ledger
    assert ledger.segments[-1].kind is Kind.REPLY
    assert len(ledger.segments[-1].tokens) == 1  # the sampled one
    read = ledger.tokens()[:-1]
    speech.close()
    return read, backend.heard[new.pop()][0]


def read_afresh(model: Model, tokens: list[int]) -> Any:
    fresh = Llama(model, n_cells=WINDOW, n_threads=2, layout=Layout("f32", "f32"))
    row = fresh.decode([Span(0, 0, tokens, True)])[0]
    logits = fresh.logits(row)
    fresh.close()
    return logits
