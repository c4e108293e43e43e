"""A character is saved, its engine is killed, and another one goes on with the very same words."""

import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from npc_engine.client.sidecar import Sidecar
from npc_engine.client.zmq_client import Client
from npc_engine.storage.journal.records import examine
from npc_engine.storage.snapshot import decode
from tests.support.real import GREEDY, INNKEEPER

pytestmark = pytest.mark.model

QUESTIONS = ["Who was here last night?", "And then?", "What did he leave?", "Where is it now?"]
# Floats as they are, so that one layout says the same words each time.
FLAGS = (
    "--save-kv",
    "yes",
    "--window",
    "256",
    "--slots",
    "1",
    "--kv-type",
    "f32",
    "--flash-attn",
    "off",
)
WAIT_S = 60.0


def talk(client: Client, questions: list[str]) -> list[str]:
    """With a pause behind each line: a recurrent state may go back to its persona there."""
    answers = []
    for question in questions:
        answers.append(client.say("mara", question, max_tokens=24, timeout=WAIT_S).wait().text)
        pause(client)
    return answers


def pause(client: Client) -> None:
    deadline = time.monotonic() + WAIT_S
    while client.stats()["n_pending_tokens"]:
        assert time.monotonic() < deadline


def test_it_goes_on_word_for_word(tiny_model: Path, tmp_path: Path) -> None:
    saves = ("--saves", str(tmp_path))
    with Sidecar(tiny_model, *FLAGS, *saves) as first, first.client() as client:
        client.spawn("mara", INNKEEPER, sampling=GREEDY)
        talk(client, QUESTIONS * 3)  # the window has overflowed
        client.event("A dog barks.")
        fact = client.pin("mara", "The key is under the third stair.")
        pause(client)
        client.save("slot")
        continued = talk(client, QUESTIONS)
        assert sum(map(bool, continued)) == len(QUESTIONS)
        psutil.Process(first.pid).kill()
    with Sidecar(tiny_model, *FLAGS, *saves) as second, second.client() as client:
        spawned = client.spawn("mara", INNKEEPER, sampling=GREEDY, restore="slot")
        assert spawned.restored
        assert spawned.notice is None
        stats = client.stats()
        assert stats["n_prefilled"] + stats["n_pending_tokens"] == 0, "the payload was not taken"
        assert spawned.n_pinned == fact.n_pinned
        assert talk(client, QUESTIONS) == continued


def turn_on_disk(folder: Path) -> int:
    """The turn that an autosaved character is in, as its files say just now."""
    try:
        snapshot = decode((folder / "mara.npc").read_bytes(), bytes(32))
    except FileNotFoundError:  # the slot is being swapped
        return 0
    with suppress(FileNotFoundError):  # the snapshot has it all
        snapshot = examine(snapshot, (folder / "mara.journal").read_bytes()).loaded
    return int(snapshot.state["turn"])


def said(client: Client) -> list[tuple[str, str, int]]:
    return [(s.kind, s.text, s.turn) for s in client.window("mara").segments if s.turn]


def test_it_goes_on_with_what_nobody_saved(tiny_model: Path, tmp_path: Path) -> None:
    flags = (*FLAGS, "--saves", str(tmp_path), "--autosave", "5")
    with Sidecar(tiny_model, *flags) as first, first.client() as client:
        client.spawn("mara", INNKEEPER, sampling=GREEDY)
        talk(client, QUESTIONS * 3)
        client.event("A dog barks.")
        turn = client.say("mara", "Who is it?", max_tokens=24, timeout=WAIT_S).wait().turn
        deadline = time.monotonic() + WAIT_S
        while turn_on_disk(tmp_path / "autosave") <= turn:
            assert time.monotonic() < deadline
        before = said(client)
        speech = client.say("mara", "Never to be answered.", stream=["text"], timeout=WAIT_S)
        next(iter(speech))
        psutil.Process(first.pid).kill()
    with Sidecar(tiny_model, *flags) as second, second.client() as client:
        spawned = client.spawn("mara", INNKEEPER, sampling=GREEDY, restore="autosave")
        assert spawned.restored
        after = said(client)
        if ("end", "", turn + 1) in after:  # the machine was so busy that it had come to its end
            assert "Never to be answered." in [text for _, text, _ in after]
        else:
            assert after == before
        assert talk(client, QUESTIONS[:1]) != [""]
