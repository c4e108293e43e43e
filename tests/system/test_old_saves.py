"""What released versions wrote is read for as long as the major version is 1 (tests/saves)."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from npc_engine import protocol as m
from npc_engine.storage.snapshot import FORMAT, MAGIC, decode, encode
from tests.saves.make import EXPECTED, FOLDER, KEY, name_of, remembered, rig
from tests.support.rig import Rig

VERSIONS = sorted(
    (path.name for path in FOLDER.iterdir() if path.name[0].isdigit()),
    key=lambda name: [int(n) for n in name.split(".")],
)

MakeRig = Callable[[], Rig]


@pytest.fixture
def saves(tmp_path: Path) -> Path:
    """A saves folder with a slot of each version."""
    for version in VERSIONS:
        shutil.copytree(FOLDER / version, tmp_path / version)
    return tmp_path


@pytest.fixture
def make(saves: Path) -> Iterator[MakeRig]:
    made: list[Rig] = []

    def make() -> Rig:
        made.append(rig(saves))
        return made[-1]

    yield make
    for one in made:
        one.close()


def expected(version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / version / EXPECTED).read_text(encoding="utf-8"))
    return found


def test_every_version_is_here() -> None:
    assert [*VERSIONS[:1], VERSIONS[-1]] == ["1.0", name_of(FORMAT)], (
        "a new format: python -m tests.saves.make"
    )
    for version in VERSIONS:
        formats = {
            tuple(decode(path.read_bytes(), KEY).header["format"])
            for path in (FOLDER / version).glob("*.npc")
        }
        assert {name_of(f) for f in formats} == {version}
        assert sorted(expected(version)) == ["Bram", "lena", "mara", "tom", "wren"]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_it_wrote_is_read_whole_and_lives(version: str, make: MakeRig) -> None:
    rig = make()
    loaded = rig.load(version)
    assert isinstance(loaded, m.Loaded), loaded
    assert [(n.npc, n.source, n.notice) for n in loaded.npcs] == [
        (npc, "payload", None) for npc in expected(version)
    ]
    assert {npc: remembered(rig, npc) for npc in expected(version)} == expected(version)
    for npc in expected(version):
        assert rig.talk(npc, "What now?").turn == expected(version)[npc]["turn"]
    rig.rest()


@pytest.mark.parametrize("version", VERSIONS)
def test_saved_again_nothing_of_it_is_lost(version: str, make: MakeRig) -> None:
    first, second = make(), make()
    first.load(version)
    saved = first.save("again")
    assert isinstance(saved, m.Saved), saved
    assert [n.source for n in second.load("again").npcs] == ["payload"] * len(saved.npcs)
    assert {npc: remembered(second, npc) for npc in expected(version)} == expected(version)


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Change header and state of a file, and sign it again."""
    found = decode(path.read_bytes(), KEY)
    change(found.header, found.state)
    path.write_bytes(encode(found.header, found.state, found.payload, KEY))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_newest_can_have_a_journal() -> None:
    """Each says which snapshot it is; one without, as 1.0 wrote it, has no journal."""
    headers = {
        version: [decode(p.read_bytes(), KEY).header for p in (FOLDER / version).glob("*.npc")]
        for version in VERSIONS
    }
    assert not any("snapshot" in header for header in headers["1.0"])
    found = [header["snapshot"] for header in headers[VERSIONS[-1]]]
    assert len(set(found)) == len(found) == 5


def test_what_a_newer_version_adds_survives(make: MakeRig, saves: Path) -> None:
    def add(header: dict[str, Any], state: dict[str, Any]) -> None:
        header["mood"] = {"joy": [1, None]}
        header["loras"] = []
        state["dreams"] = [{"of": "sheep"}, b"\x00", 2**63]
        for segment in state["segments"]:
            segment["echo"] = segment["turn"] / 2
        state["segments"][-1]["voice"] = "hoarse"

    slot = saves / VERSIONS[-1]
    rewritten(slot / "mara.npc", add)
    for _ in range(2):  # as often as it is saved
        rig = make()
        rig.load(slot.name, ["mara"])
        rig.talk("mara", "Hello.")
        rig.save(slot.name, ["mara"])
    found = decode((slot / "mara.npc").read_bytes(), KEY)
    assert found.header["mood"] == {"joy": [1, None]}
    assert found.header["format"] == [*FORMAT]
    assert found.state["dreams"] == [{"of": "sheep"}, b"\x00", 2**63]
    last_old = expected(slot.name)["mara"]["turn"]
    old = [s for s in found.state["segments"] if s.get("echo") == s["turn"] / 2]
    assert {s["turn"] for s in old} >= {0, 2, 4, last_old}
    assert [s["text"] for s in old if s.get("voice")] == ["*The candle burns down.*\n"]
    assert not [s for s in found.state["segments"] if s["turn"] > last_old and "echo" in s]


def test_it_survives_another_vocabulary(make: MakeRig, saves: Path) -> None:
    def add(header: dict[str, Any], state: dict[str, Any]) -> None:
        header["vocab"], header["mood"], state["dreams"] = "another", "glad", 7
        for segment in state["segments"]:
            segment["echo"] = segment["text"]

    slot = saves / VERSIONS[-1]
    rewritten(slot / "wren.npc", add)
    rig = make()
    (loaded,) = rig.load(slot.name, ["wren"]).npcs
    assert "told anew" in loaded.notice
    segments = rig["wren"].dialogue.ledger.segments
    assert [(s.text, s.speaker) for s in segments if s.kind == "said"] == [("Tom: Hello.", "Tom")]
    ends = [s.expires is not None for s in segments if s.kind == "event"]
    assert ends == [True, True, False]
    rig.save(slot.name, ["wren"])
    found = decode((slot / "wren.npc").read_bytes(), KEY)
    assert (found.header["mood"], found.state["dreams"]) == ("glad", 7)
    echoes = [s["echo"] == s["text"] for s in found.state["segments"] if "echo" in s and s["text"]]
    assert echoes == [True] * 3, "what was said, the reply, and what it had perceived"


@pytest.mark.parametrize("where", ["header", "state", "segment"])
def test_too_much_of_it_is_left_behind_and_the_rest_saved(
    where: str, make: MakeRig, saves: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def add(header: dict[str, Any], state: dict[str, Any]) -> None:
        n = 1 << 16 if where == "header" else 1 << 20
        place = {"header": header, "state": state, "segment": state["segments"][2]}[where]
        place["ballast"] = "x" * n

    slot = saves / VERSIONS[-1]
    rewritten(slot / "mara.npc", add)
    rig = make()
    (loaded,) = rig.load(slot.name, ["mara"]).npcs
    assert (loaded.source, loaded.notice) == ("payload", None)
    assert "too much to be kept" in caplog.text
    assert isinstance(rig.save(slot.name, ["mara"]), m.Saved)
    assert b"ballast" not in (slot / "mara.npc").read_bytes()


def test_a_newer_major_version_is_refused_and_nothing_touched(make: MakeRig, saves: Path) -> None:
    slot = saves / VERSIONS[-1]
    data = (slot / "wren.npc").read_bytes()
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(data[len(MAGIC) :])
    header = unpacker.unpack()
    rest = data[len(MAGIC) + unpacker.tell() :]
    newer = MAGIC + msgpack.packb({**header, "format": [2, 0]}) + rest
    rig = make()
    rig.load(slot.name, ["mara", "wren"])
    rig.talk("mara", "Hello.")
    before = {npc: rig.tokens(npc) for npc in ("mara", "wren")}
    (slot / "wren.npc").write_bytes(newer)
    files = contents(slot)
    error = rig.load(slot.name)
    assert (error.code, "format 2.0" in error.message) == ("bad_snapshot", True)
    assert {npc: rig.tokens(npc) for npc in before} == before
    assert len(rig.engine.stage.characters) == 2
    assert contents(slot) == files


def test_a_model_with_adapters_is_another(make: MakeRig, saves: Path) -> None:
    slot = saves / VERSIONS[-1]
    rewritten(slot / "wren.npc", lambda header, _: header.update(loras=[{"sha256": "0" * 64}]))
    rig = make()
    (loaded,) = rig.load(slot.name, ["wren"]).npcs
    assert loaded.source == "tokens"
    assert "LoRA" in loaded.notice
    assert remembered(rig, "wren") == expected(slot.name)["wren"]
    rig.rest()
    rig.save(slot.name, ["wren"])
    assert decode((slot / "wren.npc").read_bytes(), KEY).header["loras"] == []
