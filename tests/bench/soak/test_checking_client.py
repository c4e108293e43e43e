"""The client notices whatever must not happen, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from npc_engine import protocol as m
from npc_engine.bench.soak.checking_client import CheckingClient
from tests.support.rig import CARD, Rig


@pytest.fixture
def client(tmp_path: Path) -> Iterator[CheckingClient]:
    rig = Rig(tmp_path)
    yield CheckingClient(rig.engine)
    rig.engine.close()


def test_answers_come_to_who_asked(client: CheckingClient) -> None:
    client.ask(m.Spawn, npc="mara", card=CARD)
    say = client.post(m.Say, npc="mara", text="Hello.", max_tokens=8)
    assert client.is_open(say)
    ping = client.post(m.Ping)
    pong, done = client.wait(ping, say)
    assert isinstance(pong, m.Pong)
    assert isinstance(done, m.Done)
    assert (client.n_faults, client.n_requests) == (0, 3)
    assert client.replies["Done"] == 1


def test_an_error_is_a_fault_unless_it_was_provoked(client: CheckingClient) -> None:
    client.ask(m.Say, npc="nobody", text="Hello?", allow="busy unknown_npc")
    assert client.n_faults == 0
    client.ask(m.Say, npc="nobody", text="Hello?")
    assert client.n_faults == 1
    assert client.faults[0].startswith("Say: unknown_npc: There is no character 'nobody'.")
    assert client.replies["Error unknown_npc"] == 2


def test_a_second_answer_is_a_fault(client: CheckingClient) -> None:
    ping = client.post(m.Ping)
    client.engine._post_reply(b"", m.Pong(id=ping))
    client.wait(ping)
    assert client.faults == ["A Pong after the end, or for no request at all."]


def test_no_answer_is_a_fault(client: CheckingClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.engine, "handle", lambda _message: None)
    client.step()
    assert client.ask(m.Ping) is None
    assert client.faults == ["A Ping was never answered."]


def test_a_record_for_nobody_is_a_fault(client: CheckingClient) -> None:
    client.engine._post_reply(b"somebody", m.Pong(id="7"))
    client.step()
    assert client.n_faults == 2  # nobody's client, and no request


def test_few_faults_are_kept_and_all_are_counted(client: CheckingClient) -> None:
    for i in range(1000):
        client.fault(f"fault {i}")
    assert client.n_faults == 1000
    assert len(client.faults) == 50
