import base64
import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npc_engine.cards.card import LIST_FIELDS, TEXT_FIELDS, Card
from npc_engine.cards.files import MAX_FILE
from npc_engine.errors import CardError
from tests.support.cards import V3, json_values, write

KEYS = (b"chara", b"ccv3")


def chunk(kind: bytes, body: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + crc


def png(*chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixel = chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixel + chunk(b"IEND", b"")


def b64(value: object) -> bytes:
    return base64.b64encode(json.dumps(value).encode())


def refused(folder: Path, name: str, raw: bytes | str) -> CardError:
    with pytest.raises(CardError) as caught:
        Card.load(write(folder, name, raw))
    assert name in caught.value.message
    assert caught.value.help
    return caught.value


def test_toml(tmp_path: Path) -> None:
    text = (
        'name = "Märä"\ndescription = """\\\n  One \\\n  line."""\nborn = 1970-01-02\n'
        "tags = ['a']\n[extensions.game]\nhp = 3\n"
    )
    card = Card.load(write(tmp_path, "m.toml", b"\xef\xbb\xbf" + text.encode()))
    assert (card.name, card.description, card.tags) == ("Märä", "One line.", ("a",))
    assert card.extra == {"extensions": {"game": {"hp": 3}}, "born": "1970-01-02"}


def test_json(tmp_path: Path) -> None:
    assert Card.load(str(write(tmp_path, "m.JSON", json.dumps(V3)))) == Card.from_map(V3)


def itxt(keyword: bytes, text: bytes, packed: bool) -> bytes:
    body = zlib.compress(text) if packed else text
    return chunk(b"iTXt", keyword + b"\0" + bytes([packed, 0]) + b"en\0Karte\0" + body)


@pytest.mark.parametrize(
    "card_chunk",
    [
        chunk(b"tEXt", b"chara\0" + b64(V3)),
        chunk(b"tEXt", b"Chara\0" + base64.encodebytes(json.dumps(V3).encode())),
        chunk(b"zTXt", b"ccv3\0\0" + zlib.compress(b64(V3))),
        itxt(b"ccv3", b64(V3), packed=False),
        itxt(b"ccv3", b64(V3), packed=True),
    ],
    ids=["tEXt", "wrapped lines", "zTXt", "iTXt", "packed iTXt"],
)
def test_png(tmp_path: Path, card_chunk: bytes) -> None:
    raw = png(chunk(b"tEXt", b"Software\0x"), card_chunk) + b"trailing"
    assert Card.load(write(tmp_path, "m.png", raw)) == Card.from_map(V3)


def test_ccv3_wins_over_chara(tmp_path: Path) -> None:
    old, new = (chunk(b"tEXt", key + b"\0" + b64({"name": key.decode()})) for key in KEYS)
    for raw in (png(old, new), png(new, old)):
        assert Card.load(write(tmp_path, "m.png", raw)).name == "ccv3"


def flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def bad_pngs() -> Iterator[tuple[str, bytes, str]]:
    good = png(chunk(b"tEXt", b"chara\0" + b64(V3)))
    bomb = zlib.compress(bytes(3 * MAX_FILE))
    packed = zlib.compress(b64(V3))
    yield "jpeg", b"\xff\xd8\xff" + good, "not a PNG"
    yield "empty", b"", "not a PNG"
    yield "no card", png(chunk(b"tEXt", b"Comment\0hello")), "holds no card"
    yield "cut off", good[:-20], "breaks off"
    yield "signature alone", good[:8], "breaks off"
    yield "bit rot", flipped(good, 60), "damaged at byte 33"
    yield "not base64", png(chunk(b"tEXt", b"chara\0{}!!")), "not base64"
    yield "not JSON", png(chunk(b"tEXt", b"chara\0" + base64.b64encode(b"[1,"))), "line 1, column 4"
    yield "a list", png(chunk(b"tEXt", b"chara\0" + b64([]))), "must be a map"
    yield "empty chunk", png(chunk(b"tEXt", b"chara")), "Broken JSON"
    yield "empty ccv3", png(chunk(b"tEXt", b"ccv3"), chunk(b"tEXt", b"chara\0" + b64(V3))), "JSON"
    yield "bomb", png(chunk(b"zTXt", b"chara\0\0" + bomb)), "far too large"
    yield "cut zlib", png(chunk(b"zTXt", b"chara\0\0" + packed[:-9])), "cut off"
    yield "not zlib", png(chunk(b"zTXt", b"chara\0\0hello")), "is damaged"
    yield "large", png(chunk(b"tEXt", b"chara\0" + b64("x" * MAX_FILE))), "over 4 MiB"


@pytest.mark.parametrize(
    ("raw", "words"), [pytest.param(*case[1:], id=case[0]) for case in bad_pngs()]
)
def test_bad_png(tmp_path: Path, raw: bytes, words: str) -> None:
    assert words in refused(tmp_path, "m.png", raw).message


@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("m.json", '{"name": "Mara",\n "tags": [}', "Broken JSON at line 2, column 11"),
        ("m.json", "[" * 200_000, "Unreadable JSON"),
        ("m.json", '{"name": "Mara", "n": ' + "9" * 5000 + "}", "Broken JSON at line 1, column 23"),
        ("m.json", '{"name": "Mara"}'.encode("utf-16"), "is not UTF-8"),
        ("m.json", '{"name": "Märä"}'.encode("latin-1"), "Byte 11 (b'\\xe4') is not UTF-8"),
        ("m.json", b"x" * (MAX_FILE + 1), "over 4 MiB"),
        ("m.json", "{}", "has no name"),
        ("m.toml", 'name = "Mara"\ntags = [', "Broken TOML"),
        ("m.toml", 'name = "Mara"\nname = "Bram"\n', "at line 2"),
        ("m.toml", "x = " + "[" * 50_000, "Broken TOML"),
        ("m.toml", "name = " + "9" * 5000, "Broken TOML"),
        ("m.toml", "a." * 100_000 + "b = 1", "more than 64 parts"),
        ("m.toml", "x = {" + '"\\"".' * 100_000, "more than 64 parts"),
        ("m.toml", "name = 5", "number (5)"),
        ("m.yaml", "name: Mara", "'.yaml'"),
        ("m.charx", "PK", "'.charx'"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, raw: bytes | str, words: str) -> None:
    assert words in refused(tmp_path, name, raw).message


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CardError, match=r"no such file.*spelling"):
        Card.load(tmp_path / "nobody.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(CardError, match="folder"):
        Card.load(tmp_path / "folder.json")
    with pytest.raises(CardError, match="null"):
        Card.load("a\0b.json")

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    write(tmp_path, "m.json", "{}")
    monkeypatch.setattr(Path, "open", denied)  # root may read all, so rights cannot be tried
    with pytest.raises(CardError, match=r"Permission denied.*rights"):
        Card.load(tmp_path / "m.json")


def test_devices_are_not_read(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "m.json")
    with pytest.raises(CardError, match="no regular file"):
        Card.load(tmp_path / "m.json")


def test_huge_png_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "m.png", b"\x89PNG\r\n\x1a\n")
    with path.open("r+b") as file:
        file.truncate((32 << 20) + 1)  # sparse
    with pytest.raises(CardError, match="over 32 MiB"):
        Card.load(path)


def test_save_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"\.json"):
        Card("Mara").save(tmp_path / "m.png")
    with pytest.raises(CardError, match="No such file"):
        Card("Mara").save(tmp_path / "nowhere" / "m.json")
    with pytest.raises(CardError, match="Cannot write"):
        Card("Mara", extra={"n": 10**5000}).save(tmp_path / "m.json")


def pieces() -> st.SearchStrategy[bytes]:
    """Bytes that get past the first checks more often than random ones."""
    keys = st.sampled_from([*TEXT_FIELDS, *LIST_FIELDS, "data", "spec", "other"])
    maps = st.dictionaries(keys, json_values)
    good = png(chunk(b"tEXt", b"chara\0" + b64(V3)), chunk(b"zTXt", b"ccv3\0\0" + b"x"))
    bodies = st.binary(max_size=20) | maps.map(b64)
    keyed = st.builds(lambda key, body: key + b"\0" + body, st.sampled_from(KEYS), bodies)
    kinds = st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"IDAT"])
    return st.one_of(
        st.binary(max_size=60),
        st.text(st.characters(codec="utf-8"), max_size=60).map(str.encode),
        st.text(st.sampled_from("ab=[]{}\"'.\n #1:,\\"), max_size=40).map(str.encode),
        maps.map(json.dumps).map(str.encode),
        st.lists(st.builds(chunk, kinds, keyed), max_size=3).map(lambda chunks: png(*chunks)),
        st.integers(0, len(good) - 1).map(lambda at: flipped(good, at)),
        st.integers(0, len(good) - 1).map(lambda at: good[:at]),
    )


@pytest.mark.slow
@given(pieces(), st.sampled_from([".json", ".toml", ".png"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
def test_any_bytes_are_a_card_or_a_card_error(tmp_path: Path, raw: bytes, suffix: str) -> None:
    path = write(tmp_path, f"any{suffix}", raw)
    try:
        card = Card.load(path)
    except CardError as error:
        assert path.name in error.message
        assert error.help
    else:
        assert 1 <= len(card.name) <= 200


def test_a_misspelt_key_of_a_card_by_hand(tmp_path: Path) -> None:
    card = tmp_path / "ada.toml"
    card.write_text('name = "Ada"\ndescripton = "A miller."\n')
    with pytest.raises(CardError, match="no field 'descripton'") as caught:
        Card.load(card)
    assert "'description'" in caught.value.help
    card.write_text('name = "Ada"\ncreator_notes = "Mine."\nmood = "grim"\n')
    assert Card.load(card).extra["mood"] == "grim"
