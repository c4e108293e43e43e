"""The guest notices whatever must not happen, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from npc_engine import protocol as m
from npc_engine.bench.soak.checking_client import CheckingClient
from tests.support.rig import CARD, Rig


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[CheckingClient]:
    rig = Rig(tmp_path)
    yield CheckingClient(rig.engine)
    rig.engine.close()


def test_answers_come_to_who_asked(guest: CheckingClient) -> None:
    guest.ask(m.Spawn, npc="mara", card=CARD)
    say = guest.post(m.Say, npc="mara", text="Hello.", max_tokens=8)
    assert guest.is_open(say)
    ping = guest.post(m.Ping)
    pong, done = guest.wait(ping, say)
    assert isinstance(pong, m.Pong)
    assert isinstance(done, m.Done)
    assert (guest.n_faults, guest.n_requests) == (0, 3)
    assert guest.replies["Done"] == 1


def test_an_error_is_a_fault_unless_it_was_provoked(guest: CheckingClient) -> None:
    guest.ask(m.Say, npc="nobody", text="Hello?", allow="busy unknown_npc")
    assert guest.n_faults == 0
    guest.ask(m.Say, npc="nobody", text="Hello?")
    assert guest.n_faults == 1
    assert guest.faults[0].startswith("Say: unknown_npc: There is no character 'nobody'.")
    assert guest.replies["Error unknown_npc"] == 2


def test_a_second_answer_is_a_fault(guest: CheckingClient) -> None:
    ping = guest.post(m.Ping)
    guest.engine._post_reply(b"", m.Pong(id=ping))
    guest.wait(ping)
    assert guest.faults == ["A Pong after the end, or for no request at all."]


def test_no_answer_is_a_fault(guest: CheckingClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest.engine, "handle", lambda _message: None)
    guest.step()
    assert guest.ask(m.Ping) is None
    assert guest.faults == ["A Ping was never answered."]


def test_a_record_for_nobody_is_a_fault(guest: CheckingClient) -> None:
    guest.engine._post_reply(b"somebody", m.Pong(id="7"))
    guest.step()
    assert guest.n_faults == 2  # nobody's client, and no request


def test_few_faults_are_kept_and_all_are_counted(guest: CheckingClient) -> None:
    for i in range(1000):
        guest.fault(f"fault {i}")
    assert guest.n_faults == 1000
    assert len(guest.faults) == 50
