"""`npc-engine inspect FILE|SLOT` on saves of an engine over FakeLlama, and of tiny models."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from npc_engine import __version__
from npc_engine.cli import commands as cli
from npc_engine.cli.inspect import saved as inspect_file
from npc_engine.client.in_process import Engine
from tests.support.fake_llama import FakeLlama
from tests.support.real import INNKEEPER
from tests.support.saved import damage, journaled_talk, saves_of_a_talk

Run = Callable[..., tuple[int, str, str]]
HERE = {"fingerprint": "fake-model", "vocab": "fake-vocab", "llama": "0", "layout": "fake"}
HERE["markup"] = FakeLlama().chat_format().markup


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return saves_of_a_talk(tmp_path / "saves")


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> tuple[int, str, str]:
        status = cli.main(["inspect", *argv])
        return status, *capsys.readouterr()

    return run


def test_a_slot_is_a_table(root: Path, run: Run) -> None:
    status, out, err = run("tavern")
    assert (status, err) == (0, "")
    rows = [row.split() for row in out.splitlines()]
    assert rows[0] == ["file", "is", "window", "turn", "size", "loads"]
    assert [row[:2] for row in rows[2:]] == [["+bob.npc", "whole"], ["mara.npc", "whole"]]
    assert rows[3][2].endswith("/400") and "by its KV cache" in out
    assert run("tavern.bak")[0] == run("saves/tavern")[0] == 0


@pytest.mark.parametrize(
    "argv", [["saves/tavern/mara.npc"], ["tavern", "--npc", "mara"], ["cellar"]]
)
def test_one_file(root: Path, run: Run, argv: list[str]) -> None:
    status, out, err = run(*argv)
    assert (status, err) == (0, "")
    assert out.startswith("mara.npc: Mara Venn\n")
    facts = {row[2:14].strip(): row[14:] for row in out.splitlines()[1:]}
    assert facts["whole"] == "yes, and signed by this installation"
    assert facts["loads"].startswith("by its KV cache: if model")
    assert facts["written by"].startswith("llama.cpp 0, KV cache fake, format 1.")
    assert facts["turns"] == "1-4; turn 5 comes next" and facts["pinned"] == "4"
    assert "KV cache: " in facts["size"] and facts["window"].endswith("0 tokens have left")


def test_the_conversation(root: Path, run: Run) -> None:
    status, out, _ = run("cellar", "--text")
    assert status == 0
    assert out.startswith("mara\nturn 1\n  * *Bell 0 rings.*\n  > Line 0?\n  Mara Venn: The sea")
    assert "turn 4 (pinned)\n" in out
    both = run("tavern", "--text")[1]
    assert both.startswith("Bob\nturn 1\n  > Hello.\n") and "\nmara\nturn 1\n" in both


def test_records(root: Path, run: Run) -> None:
    status, out, _ = run("tavern", "--json")
    bob, mara = json.loads(out)
    assert status == 0
    assert (bob["npc"], mara["npc"], mara["pinned_turns"]) == ("Bob", "mara", [4])
    assert mara["loads"]["by"] == "payload" and mara["whole"] is True
    assert mara["written_by"] == {**HERE, "engine": __version__}


def test_with_a_model(root: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    here = dict(HERE)
    monkeypatch.setattr(inspect_file, "_here", lambda path: here)
    argv = ("cellar", "--model", "m.gguf", "--json")
    for key, by in (("", "payload"), ("layout", "tokens"), ("vocab", "texts"), ("markup", "texts")):
        if key:
            here[key] = "another"
        assert json.loads(run(*argv)[1])[0]["loads"]["by"] == by
    assert "loads       from its texts: the model has another vocabulary" in run(*argv[:-1])[1]


@pytest.mark.parametrize(
    "what", ["harbour", "saves/harbour/mara.npc", "saves/harbour/mara.journal"]
)
def test_with_its_journal(root: Path, run: Run, what: str) -> None:
    journaled_talk(root)
    status, out, _ = run(what)
    facts = {row[2:14].strip(): row[14:] for row in out.splitlines()[1:]}
    assert (status, facts["turns"]) == (0, "1-3; turn 4 comes next")
    assert "records, 2 turns since the save; " in facts["journal"]
    assert facts["loads"].endswith("; what its journal adds is read")
    status, out, _ = run(what, "--text")
    first, *rows = out.splitlines()
    assert first.startswith("mara, with its journal: ") and first.endswith("2 turns since the save")
    assert status == 0 and "  > Line 2?" in rows and "  * *A ship comes in.*" in rows
    assert json.loads(run(what, "--json")[1])[0]["journal"]["n_turns"] == 2


def test_a_table_with_journals(root: Path, run: Run) -> None:
    journaled_talk(root)
    shutil.copy(root / "tavern" / "+bob.npc", root / "harbour")
    out = run("harbour")[1]
    head, _, bob, mara = (row.split() for row in out.splitlines())
    assert head == ["file", "is", "window", "turn", "size", "journal", "loads"]
    assert bob[6] == "-" and "2 turns since the save" in " ".join(mara)
    journal = root / "harbour" / "mara.journal"
    journal.write_bytes(journal.read_bytes()[:-1])
    status, out, _ = run("harbour")
    assert status == 1 and out.splitlines()[3].split()[1] == "BROKEN"
    assert "  whole       NO. Its journal" in run("harbour", "--npc", "mara")[1]


def test_a_journal_without_its_snapshot(root: Path, run: Run) -> None:
    (journaled_talk(root) / "harbour" / "mara.npc").unlink()
    status, _, err = run("saves/harbour/mara.journal")
    assert status == 2 and "is a journal, and there is no mara.npc beside it" in err


def test_damage(root: Path, run: Run) -> None:
    damage(root / "tavern" / "mara.npc")
    status, out, _ = run("saves/tavern/mara.npc")
    assert status == 1
    assert "whole       NO. The stored KV cache is damaged" in out
    damage(root / "tavern" / "mara.npc", 300)
    status, out, _ = run("saves/tavern/mara.npc")
    assert status == 1
    assert out.startswith("mara.npc: BROKEN\n") and "damaged" in out
    status, out, _ = run("tavern")
    assert status == 1 and [row.split()[1] for row in out.splitlines()[2:]] == ["whole", "BROKEN"]
    status, out, _ = run("tavern", "--json")
    _, mara = json.loads(out)
    assert status == 1 and mara["problem"] and mara["loads"]["by"] is None
    status, out, _ = run("tavern", "--text")
    assert status == 1 and "  BROKEN: " in out and "> Hello." in out


def test_what_is_not_there(root: Path, run: Run, tmp_path: Path) -> None:
    for argv, reason in (
        (["cave"], "no save 'cave'"),
        (["saves/cave/mara.npc"], "neither a file"),
        (["tavern", "--npc", "eve"], "no 'eve'"),
        (["tavern", "--model", "none.gguf"], "none.gguf"),
        (["empty"], "holds no save"),
        (["cave", "--saves", "nowhere"], "neither a file 'cave' nor such a slot in 'nowhere'"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        status, out, err = run(*argv)
        assert (status, out) == (2, ""), argv
        assert reason in err and err.count("\n") == 1


def test_any_file_may_be_asked_for(root: Path, run: Run, tmp_path: Path) -> None:
    shutil.copyfile(root / "tavern" / "mara.npc", tmp_path / "Copy of mara.npc")
    (tmp_path / "link.npc").symlink_to(tmp_path / "Copy of mara.npc")
    (tmp_path / "notes.txt").write_text("hello")
    assert run("Copy of mara.npc")[0] == run("link.npc")[0] == 0
    status, out, _ = run("notes.txt")
    assert status == 1 and "no NPC Engine save" in out


def test_names_of_strangers_do_not_steer_the_terminal(tmp_path: Path, run: Run) -> None:
    rig_saves = saves_of_a_talk(tmp_path / "saves")
    data = (rig_saves / "cellar" / "mara.npc").read_bytes()
    from npc_engine.storage.snapshot import decode, encode

    found = decode(data, b"")
    header = {**found.header, "llama": "\x1b[2J", "layout": "\x1b[31m"}
    (tmp_path / "bad.npc").write_bytes(encode(header, found.state, b"x", b""))
    for how in ([], ["--json"], ["--text"]):
        assert "\x1b" not in run("bad.npc", *how)[1]


@pytest.mark.model
def test_a_real_save_and_its_model(tiny_llama: Path, tmp_path: Path, run: Run) -> None:
    """What inspect says of a load is what a load does."""
    sources = {}
    saves = str(tmp_path / "saves")
    other = tiny_llama.with_name("tiny-mamba.gguf")
    for name, model in (("same", tiny_llama), ("other", other), ("journaled", tiny_llama)):
        engine = Engine.open(tiny_llama, window=256, slots=1, saves=saves, save_kv="yes")
        engine.spawn("mara", INNKEEPER)
        engine.say("mara", "Who was here?", max_tokens=8).wait()
        engine.save(name, mode="journal" if name == "journaled" else "full")
        engine.say("mara", "And before?", max_tokens=8).wait()
        engine.close()
        again = Engine.open(model, window=256, slots=1, saves=saves)
        sources[name] = again.load(name).npcs[0].source
        turn = again.window("mara").turn
        again.close()
        record = json.loads(run(name, "--model", str(model), "--json")[1])[0]
        assert record["loads"]["by"] in (sources[name], "texts"), record
        assert record["turn"] == turn == (3 if name == "journaled" else 2)
    assert sources == {"same": "payload", "other": "tokens", "journaled": "payload"}
