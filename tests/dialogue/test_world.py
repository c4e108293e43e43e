"""The file of --world: what it may be, and that it leaves room for a character."""

import logging
from pathlib import Path

import pytest

from npc_engine import protocol as m
from npc_engine.client.in_process import Engine
from npc_engine.config import Settings
from npc_engine.dialogue.persona import most_pinned
from npc_engine.dialogue.world import MAX_BYTES, check_world, read_world
from npc_engine.errors import ConfigError
from npc_engine.loading import load_engine
from tests.support.fake_llama import FakeLlama
from tests.support.rig import Rig, TimedLlama


def written(folder: Path, raw: bytes) -> str:
    path = folder / "world.txt"
    path.write_bytes(raw)
    return str(path)


def test_no_file_is_no_world() -> None:
    assert read_world("") == ""


def test_a_world_is_its_text_cleaned(tmp_path: Path) -> None:
    raw = b"\xef\xbb\xbf  The s\xc3\xa9a.\r\nIt \x07is deep.\n\n"
    assert read_world(written(tmp_path, raw)) == "The s\u00e9a.\nIt is deep."


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"The s\xe9a.", "byte 5 .* is not UTF-8"),
        (b"", "it is empty"),
        (b" \n\x00\t", "it is empty"),
        (b"a" * (MAX_BYTES + 1), "it is over 1 MiB"),
    ],
)
def test_what_is_no_world(tmp_path: Path, raw: bytes, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        read_world(written(tmp_path, raw))
    assert "world.txt" in caught.value.message
    assert caught.value.help


def test_a_long_file_is_too_long_even_where_it_is_cut_in_a_character(tmp_path: Path) -> None:
    raw = "\u00e9".encode() * (MAX_BYTES // 2) + b"\xc3\xa9"
    with pytest.raises(ConfigError, match="over 1 MiB"):
        read_world(written(tmp_path, b"a" + raw))


@pytest.mark.parametrize("name", ["nothing.txt", "", "a\0b", "x" * 5000])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        read_world(f"{tmp_path}/{name}")
    assert caught.value.help == "Check the path."


def test_a_macro_is_not_filled_in_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_world(written(tmp_path, b"{{char}} knows.")) == "{{char}} knows."
    assert "{{char}} as it stands" in caplog.text


def test_a_world_leaves_room_for_a_persona() -> None:
    fake = FakeLlama(world="The sea is deep. " * 20)
    chat_format = fake.chat_format()
    n_world = len(chat_format.world_tokens)
    window = next(w for w in range(2000) if most_pinned(w, chat_format) > n_world)
    check_world(chat_format, window)
    with pytest.raises(ConfigError) as caught:
        check_world(chat_format, window - 1)
    assert f"The world takes {n_world} tokens; a window of {window - 1}" in caught.value.message
    assert "--window" in caught.value.help
    with pytest.raises(ConfigError, match="has 0 for"):
        check_world(chat_format, 1)
    check_world(FakeLlama().chat_format(), 1)


def test_a_world_that_cannot_be_used_shows_before_the_model_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="world file"):
        load_engine(Settings(model="no.gguf", world=str(tmp_path / "none.txt")))


def test_a_persona_that_has_no_room_beside_the_world_says_so(tmp_path: Path) -> None:
    rig = Rig(tmp_path, fake=TimedLlama(world="The sea is deep. " * 12))
    n_world = len(rig.engine.stage.chat_format.world_tokens)
    card = {"name": "Mara", "system_prompt": "Mara. " * 30}
    error = rig.ask(m.Spawn(id="s", npc="mara", card=card))
    assert isinstance(error, m.Error)
    assert error.code == "too_large"
    assert f", {n_world} of them for the world" in error.message
    assert "Shorten the card or world to at most" in error.help
    rig.close()


@pytest.mark.model
def test_an_engine_with_a_world(smollm2: Path, tmp_path: Path) -> None:
    plain = {"kv_type": "f16", "flash_attn": "off", "threads": 1, "window": 256, "slots": 2}
    world = written(tmp_path, b"The sea took the old town. Nobody sails at night. " * 4)
    with Engine(
        load_engine(Settings.parse({**plain, "model": str(smollm2), "world": world}))
    ) as engine:
        n_world = len(engine.core.stage.chat_format.world_tokens)
        assert engine.spawn("mara", {"name": "Mara"}).n_shared == n_world > 40
        first = engine.window("mara").segments[0]
        assert (first.kind, first.n_tokens, first.pinned) == ("persona", n_world, True)
        assert first.text.startswith("The sea took the old town.")
    world = written(tmp_path, b"The sea took the old town. Nobody sails at night. " * 20)
    with pytest.raises(ConfigError, match="The world takes"):
        load_engine(Settings.parse({**plain, "model": str(smollm2), "world": world}))
