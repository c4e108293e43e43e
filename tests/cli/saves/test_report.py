"""What is said of a file is what is in it; of a bad file, what is wrong."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npc_engine import __version__
from npc_engine.cli.saves import report as save_report
from npc_engine.cli.saves.report import how_it_loads, report_on
from npc_engine.cli.saves.text import words
from npc_engine.saving.records import parse
from npc_engine.storage.journal.records import Replay
from npc_engine.storage.signing_key import installation_key
from npc_engine.storage.slot_reader import read_journal
from npc_engine.storage.snapshot import Snapshot, decode, encode
from npc_engine.storage.store import Store
from tests.support.fake_llama import FakeLlama
from tests.support.saved import damage, journaled_talk, saves_of_a_talk

HERE = {"fingerprint": "fake-model", "vocab": "fake-vocab", "llama": "0", "layout": "fake"}
HERE["markup"] = FakeLlama().chat_format().markup


@pytest.fixture(scope="module")
def mara(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report") / "mara.npc"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return saves_of_a_talk(tmp_path / "saves") / "tavern" / "mara.npc"


def test_facts(file: Path) -> None:
    report = report_on(file, installation_key(), "mara")
    facts = report.facts()
    state = decode(file.read_bytes(), b"").state
    assert (facts["npc"], facts["name"], facts["whole"]) == ("mara", "Mara Venn", True)
    assert facts["trusted"] and facts["notice"] is None
    assert facts["n_tokens"] == sum(len(s["tokens"]) for s in state["segments"])
    assert facts["n_pinned"] == sum(len(s["tokens"]) for s in state["segments"] if s["pinned"])
    assert (facts["turn"], facts["turns"], facts["pinned_turns"]) == (5, [1, 2, 3, 4], [4])
    assert facts["window"] == 400 and facts["n_bytes"] == file.stat().st_size
    assert facts["written_by"] == {**HERE, "engine": __version__}
    assert 0 < facts["n_payload_bytes"] < facts["n_bytes"]
    assert report.snapshot and report.snapshot.payload is None  # not kept in memory


def test_the_conversation(file: Path) -> None:
    report = report_on(file, b"")
    assert report.saved is not None
    rows = "\n".join(words(report.saved))
    assert "turn 3\n  * *Bell 2 rings.*\n  > Line 2?\n  Mara Venn: The sea is cold.\n" in rows
    assert "turn 4 (pinned)\n  * *The key is under the stair.*\n" in rows
    assert rows.endswith("turn 5 (not answered yet)\n  * *It rains.*")
    assert "Keeps the inn" not in rows


def test_how_it_loads(file: Path) -> None:
    report = report_on(file, installation_key())
    assert how_it_loads(report, None)[0] == "payload"
    assert how_it_loads(report, HERE)[0] == "payload"
    assert how_it_loads(report, {**HERE, "vocab": "x"})[0] == "texts"
    assert how_it_loads(report, {**HERE, "markup": "x"})[0] == "texts"
    for key in ("fingerprint", "layout", "llama"):
        by, why = how_it_loads(report, {**HERE, key: "another"})
        assert by == "tokens" and "another" in why
    adapted = decode(file.read_bytes(), installation_key())
    adapted.header["loras"] = ["pirate.gguf"]
    file.write_bytes(encode(adapted.header, adapted.state, adapted.payload, installation_key()))
    assert how_it_loads(report_on(file, installation_key()), HERE)[0] == "tokens"
    foreign = report_on(file, bytes(32))
    by, why = how_it_loads(foreign, HERE)
    assert by == "tokens" and "not of this installation" in why
    assert foreign.damage is None and foreign.problem is None
    assert abs(foreign.n_payload - report.n_payload) < 200


def rewrite(file: Path, payload: bytes | None = None, **state: Any) -> None:
    was = decode(file.read_bytes(), b"")
    file.write_bytes(encode(was.header, {**was.state, **state}, payload, installation_key()))


def test_a_save_without_its_cache(file: Path) -> None:
    rewrite(file)
    report = report_on(file, installation_key())
    assert report.n_payload == 0 and report.damage is None
    assert how_it_loads(report, HERE) == ("tokens", "it was saved without its KV cache")


@pytest.mark.parametrize(
    "state", [{"segments": 3}, {"card": {}}, {"card": {"name": 7}}, {"turn": "x"}]
)
def test_a_state_that_is_no_character(file: Path, state: dict[str, Any]) -> None:
    rewrite(file, **state)
    report = report_on(file, installation_key())
    assert report.problem and "no valid character" in report.problem.message
    assert report.facts()["whole"] is False
    assert how_it_loads(report, HERE)[0] == ""


def test_damage(file: Path, tmp_path: Path) -> None:
    damage(file)
    report = report_on(file, installation_key())
    assert report.problem is None and report.damage and not report.facts()["whole"]
    assert how_it_loads(report, HERE)[0] == "tokens"
    damage(file, 200)
    assert "is damaged" in str(report_on(file, installation_key()).problem)
    assert report_on(tmp_path, b"").problem
    with pytest.raises(FileNotFoundError):
        report_on(tmp_path / "none.npc", b"")


def test_with_its_journal_it_is_who_a_load_brings(tmp_path: Path) -> None:
    file = journaled_talk(tmp_path) / "harbour" / "mara.npc"
    key = installation_key()
    report = report_on(file, key, "mara")
    found = Store(tmp_path, key).read("harbour")["mara"]
    assert isinstance(found, Snapshot) and report.saved == parse(found.state)
    assert report.journal is not None and report.damage is None
    journal = file.with_suffix(".journal")
    n = report.journal.n_records
    assert (n >= 2, report.journal.n_turns, report.saved.turn) == (True, 2, 4)
    assert report.journal.text == f"{n} records, 2 turns since the save"
    assert report.n_bytes == file.stat().st_size + journal.stat().st_size
    facts = report.facts()
    assert (facts["turns"], facts["journal"]["n_records"]) == ([1, 2, 3], n)
    assert facts["journal"]["n_bytes"] == journal.stat().st_size
    rows = "\n".join(words(report.saved))
    assert "turn 3\n  > Line 2?\n" in rows and rows.endswith("* *A ship comes in.*")
    assert how_it_loads(report, HERE)[1].endswith("; what its journal adds is read")
    assert 0 < facts["n_cached"] <= report.n_stored < facts["n_tokens"]


def test_what_is_wrong_with_a_journal(tmp_path: Path) -> None:
    file = journaled_talk(tmp_path) / "harbour" / "mara.npc"
    journal = file.with_suffix(".journal")
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-3])
    torn = report_on(file, installation_key())
    assert torn.journal is not None and torn.journal.n_torn > 0 and torn.problem is None
    assert torn.damage and "no whole record" in torn.damage and torn.own_damage is None
    journal.write_bytes(b"?")
    left_out = report_on(file, installation_key())
    assert left_out.saved is not None and left_out.saved.turn == 2
    assert "left out: it is no journal" in str(left_out.damage)
    assert how_it_loads(left_out, HERE)[0] == "payload"
    journal.unlink()
    journal.symlink_to(file)
    assert "is a link" in str(report_on(file, installation_key()).damage)


def test_what_is_being_written_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = journaled_talk(tmp_path) / "harbour" / "mara.npc"
    journal = file.with_suffix(".journal")
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-3])

    def read(snapshot: Snapshot, path: Path) -> Replay:
        found = read_journal(snapshot, path)
        journal.write_bytes(whole)
        return found

    monkeypatch.setattr(save_report, "read_journal", read)
    assert report_on(file, installation_key()).damage is None


def test_whose_it_is(file: Path) -> None:
    problem = report_on(file, b"", "eve").problem
    assert problem and "holds 'mara', not 'eve'" in problem.message


@settings(max_examples=60)
@given(at=st.integers(0, 5000), cut=st.booleans())
def test_any_file_gets_a_report(mara: Path, at: int, cut: bool) -> None:
    if not mara.exists():
        saves = saves_of_a_talk(mara.parent / "saves")
        mara.write_bytes((saves / "tavern" / "mara.npc").read_bytes())
    data = mara.read_bytes()
    bad = mara.with_name("bad.npc")
    at %= len(data)
    bad.write_bytes(data[:at] if cut else data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    report = report_on(bad, b"key", "mara")
    assert report.problem or report.damage or (report.snapshot and not report.snapshot.trusted)
    assert report.facts()["n_bytes"] == bad.stat().st_size
