"""DRY is what llama.cpp's is, but for what may be repeated: words once begun, and quotations."""

import ctypes
import random
import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from npc_engine.llama.dry import BASE, N_FREE, Dry
from npc_engine.llama.model import Model
from npc_engine.text.quotation import Quotation

# First `model`: it sets what the native library reads when it is loaded.
import llama_cpp.llama_cpp as C  # noqa: N812  # isort: skip

WINDOW = 256


class Speech:
    """A Dry over tokens that are written as texts."""

    def __init__(self, recent: Iterable[str] = (), quotable: Iterable[str] = ()) -> None:
        self._pieces: list[bytes] = []
        self.n_asked = 0
        self._texts = list(quotable)
        self.quotation = Quotation(self._pieces.__getitem__, self._ask)
        self.dry = Dry(1.0, WINDOW, map(self._token, recent), self.quotation.is_quoted)

    def _token(self, piece: str | bytes) -> int:
        raw = piece.encode() if isinstance(piece, str) else piece
        if raw not in self._pieces:
            self._pieces.append(raw)
        return self._pieces.index(raw)

    def _ask(self) -> list[str]:
        self.n_asked += 1
        return self._texts

    def say(self, *pieces: str | bytes) -> set[bytes]:
        """Say so and return the pieces that are now less likely."""
        for piece in pieces:
            self.dry.accept(self._token(piece))
            self.quotation.accept(self._token(piece))
        return {self._pieces[token] for token in self.dry.penalties()}


def cut(text: str) -> list[str]:
    """Words as tokens, with the space before each."""
    return [" " + word for word in text.split()]


LINE = cut("the river is high and brown tonight, they say.")


def test_it_is_what_llama_cpp_does(tiny_llama: Path) -> None:
    """Where nothing is exempt, the penalties are the same for any history."""
    model, dice = Model(tiny_llama), random.Random(1)
    for _ in range(300):
        history = dice.choices(range(10, dice.randint(11, 14)), k=dice.randint(1, 60))
        window = dice.choice((20, 64, WINDOW))
        dry = Dry(0.8, window, (), lambda _: False)
        for token in history:
            dry.accept(token)
        expected = theirs(model, history, window)
        assert dry.penalties() == pytest.approx(expected, rel=1e-3), history
    model.close()


def theirs(model: Model, history: list[int], window: int) -> dict[int, float]:
    sampler = C.llama_sampler_init_dry(model.vocab, 0.8, BASE, N_FREE, window, None, 0)
    for token in history:
        C.llama_sampler_accept(sampler, token)
    tokens = sorted(set(history))
    data = (C.llama_token_data * len(tokens))(*[C.llama_token_data(t, 0.0, 0.0) for t in tokens])
    array = C.llama_token_data_array(data, len(tokens), -1, False)
    C.llama_sampler_apply(sampler, ctypes.byref(array))
    C.llama_sampler_free(sampler)
    return {entry.id: -entry.logit for entry in data if entry.logit}


def test_what_was_said_in_another_reply_counts() -> None:
    speech = Speech(recent=LINE)
    for n, (piece, following) in enumerate(pairwise(LINE), 1):
        assert speech.say(piece) == ({following.encode()} if n >= N_FREE else set())


def test_a_reply_may_begin_with_a_quotation_again() -> None:
    for quotable, unlikely in ([], {LINE[0].encode()}), (["High is the river."], set()):
        speech = Speech(recent=[*LINE, *LINE], quotable=quotable)
        assert speech.say() == unlikely


def test_nothing_is_asked_for_while_nothing_is_repeated() -> None:
    speech = Speech(recent=LINE)
    speech.say(*cut("quite another line, I should say."))
    assert speech.n_asked == 0
    speech.say(*LINE, *LINE)
    assert speech.n_asked == 1


def test_without_strength_there_are_no_penalties() -> None:
    dry = Dry(0.0, WINDOW, [1] * 20, lambda _: False)
    for _ in range(20):
        dry.accept(1)
    assert dry.penalties() == {}


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (" Vael", "thorne"),
        (" don", "'t"),
        (" half", "-"),
        (" half-", "elf"),
        (" O\u2019", "Brien"),
        (" 18", "42"),
        (" \u0939", "\u0942"),  # an Indic vowel sign
        (" cafe", "\u0301"),
        (b"\xe5\xa5", b"\xbd"),  # a character in two tokens
        (" x", b"\xf0\x9f"),
    ],
)
def test_a_word_once_begun_is_spelt_to_its_end(first: str | bytes, rest: str | bytes) -> None:
    line = [*cut("the gate stands in the city of")]
    speech = Speech()
    speech.say(*line, first, rest, ".", *line)
    assert speech.say(first) == set()
    speech = Speech()
    speech.say(*line, first, " ", rest, *line)  # a new word
    assert speech.say(first) == {b" "}


TITLE = "Theodora Quill, Warden of the Nine Lanterns"


@pytest.mark.parametrize(
    "quotable",
    [
        f"I am {TITLE}.",
        f"*{TITLE}* she is called.",
        f"Say: \u201c{TITLE.upper()}!\u201d",
        f"({TITLE.lower()})",
        TITLE.replace(" ", "  ").replace(",", ",\n") + ".",
        f"`{TITLE}` or \u2018{TITLE}\u2019",
        TITLE.translate({c: c + 0xFEE0 for c in range(0x41, 0x7B)}),
    ],
)
def test_what_may_be_quoted_is_said_in_full(quotable: str) -> None:
    speech = Speech(recent=cut(TITLE) * 3, quotable=["Something else.", quotable])
    assert not any(speech.say(piece) for piece in cut(TITLE)[:-1])
    told = cut("as told before, her name was")
    speech = Speech(recent=[*told, *cut(TITLE), ".", *told, *cut(TITLE), "."], quotable=[quotable])
    speech.say(*told[:4])
    assert speech.say(told[4]) == {told[5].encode()}  # but what leads to it is not
    speech.say(told[5])
    assert not any(speech.say(piece) for piece in cut(TITLE)[:-1])


@pytest.mark.parametrize(
    ("phrase", "quotable"),
    [
        (
            "Caf\u00e9 Ol\u00e9 a la carte",
            unicodedata.normalize("NFD", "Caf\u00e9 Ol\u00e9 a la carte"),
        ),
        ("don\u2019t ever say it", "'don't ever say it'"),
        ("\u2018open sesame and wait\u2019", "open sesame and wait"),
        ("well \u2014 then we go", "Well - then we go"),
        ("half\u2011elf of the Ost", "half-elf of the Ost"),
        ("open \u2026 now and go", "open ... now and go"),
    ],
)
def test_a_quotation_may_be_spelt_another_way(phrase: str, quotable: str) -> None:
    for said, told in ((phrase, quotable), (quotable, phrase)):
        speech = Speech(recent=cut(said) * 3, quotable=[told])
        assert not any(speech.say(piece) for piece in cut(said)[:-1])


def test_a_name_may_be_said_after_any_words() -> None:
    told = cut("ask the smith, whose name is")
    speech = Speech(recent=[*told, " Bram"], quotable=["He knows Bram the smith."])
    assert speech.say(*told) == set()
    for text in ("He knows bramble.", "Bram it is. A bram of wood."):  # a word, with a capital once
        speech = Speech(recent=[*told, " Bram"], quotable=[text])
        assert speech.say(*told) == {b" Bram"}


def test_quotations_without_spaces() -> None:
    name = list("\u4e5d\u706f\u5b88\u671b\u8005\u67f3\u971c")
    speech = Speech(recent=name * 3, quotable=["\u5979\u662f" + "".join(name) + "\u3002"])
    assert not any(speech.say(piece) for piece in name[:-1])
    speech = Speech(recent=name * 3, quotable=["\u5979\u662f\u67f3\u971c\u3002"])
    assert any(speech.say(piece) for piece in name[:-1])


def test_a_word_that_never_ends_is_none() -> None:
    speech = Speech()
    assert speech.say(*["ha"] * 19) == set()
    assert speech.say(*["ha"] * 3) == {b"ha"}


@pytest.mark.parametrize("loop", [[" ha"], [" tick", " tock"], ["\u597d"], [" la", ","]])
def test_a_loop_is_no_quotation(loop: list[str]) -> None:
    told = "".join(loop * 3)
    speech = Speech(quotable=[f"He says: {told} And no more."])
    assert speech.say(*loop * 24, *loop[:-1])
    title = cut("who is the Warden of the Nine Lanterns of Ost") * 2
    speech = Speech(recent=title, quotable=["".join(title)])
    assert not any(speech.say(piece) for piece in title[:-1])


def test_what_goes_on_for_ever_is_cheap() -> None:
    """Each step looks at a phrase once, however often it was said."""
    looked: list[int] = []

    class Counted(list[int]):
        def __getitem__(self, at: object) -> Any:
            looked.append(1)
            return super().__getitem__(at)  # type: ignore[call-overload]

    dry = Dry(1.0, WINDOW, (), lambda _: False)
    dry._said = Counted()
    for _ in range(WINDOW):
        dry.accept(1)
    looked.clear()
    assert dry.penalties()[1] > 1e9
    assert len(looked) < 2 * WINDOW


def test_what_penalties_spare() -> None:
    """The rest of the word that was begun, and names: not what merely stands on the card."""
    pieces = [" Ys", "mere", "th", " gate", " the", " Mara", "-", " So", "\u8005"]
    texts = ["Mara keeps the gate of Ysmereth. So it is, and so it was."]
    quotation = Quotation(lambda token: pieces[token].encode(), lambda: texts)

    def spared() -> list[str]:
        return [pieces[token] for token in quotation.spared(range(len(pieces)))]

    names = [" Ys", " Mara"]
    assert spared() == names
    quotation.accept(0)
    assert spared() == [" Ys", "mere", "th", " Mara", "-"]
    quotation.accept(8)
    assert spared() == names
