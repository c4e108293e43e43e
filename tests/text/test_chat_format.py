"""Words to tokens, and texts cut to size: limits hold for any text, head and tail stay."""

import sys
import time
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from npc_engine.text.chat_format import ChatFormat, clean, shorten
from npc_engine.text.chat_template import probe
from tests.support.chat_templates import GEMMA
from tests.support.fake_llama import BOS, END, START, FakeLlama

Count = Callable[[str], int]
texts = st.text() | st.text(st.sampled_from("ab .!?\n\u3002\U0001f43a")) | st.text(min_size=200)


def n_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def n_words(text: str) -> int:
    return len(text.split())


def sentences(n: int) -> str:
    return " ".join(f"This is sentence number {i}." for i in range(n))


# -- clean -------------------------------------------------------------------------------------


@given(st.text(st.characters()) | texts)
def test_a_clean_text_stays_clean_and_can_be_encoded(text: str) -> None:
    out = clean(text)
    assert clean(out) == out == out.strip()
    assert not set(out) & ({chr(i) for i in range(32)} - {"\t", "\n"})
    out.encode()


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        ("a\r\nb\rc\n", "a\nb\nc"),
        ("\ufeffhi\x00\x1b[31m", "hi[31m"),
        ("\ud800x\udfff", "x"),
        (" \t\x07 ", ""),
        (17, "17"),
        (None, "None"),
    ],
)
def test_what_is_cleaned(dirty: object, expected: str) -> None:
    assert clean(dirty) == expected


# -- shorten -----------------------------------------------------------------------------------


@given(texts, st.integers(0, 300), st.sampled_from([len, n_bytes, n_words]))
@example("A." + " " * 900 + "B.", 20, n_words)
def test_never_more_than_asked(text: str, limit: int, count: Count) -> None:
    short, cut = shorten(text, limit, count)
    assert count(short) <= limit
    if cut:
        assert short == short.strip()
    else:
        assert short == text
    assert cut or len(text) <= 16 * limit


@given(texts)
def test_what_fits_is_left_alone(text: str) -> None:
    assert shorten(text, max(1, n_bytes(text)), n_bytes) == (text, False)


@pytest.mark.parametrize("count", [len, n_bytes, n_words])
def test_head_and_tail_stay_as_whole_sentences(count: Count) -> None:
    text = sentences(200)
    short, cut = shorten(text, 100, count)
    assert cut
    head, gap, tail = short.partition(" \u2026 ")
    assert gap
    assert text.startswith(head) and head.startswith("This is sentence number 0.")
    assert text.endswith(tail) and tail.startswith("This is sentence number ")
    assert len(tail) > len(head)


def test_a_single_long_sentence_is_cut_at_words() -> None:
    text = " ".join(f"word{i}" for i in range(500))
    short, cut = shorten(text, 120, len)
    head, _, tail = short.partition(" \u2026 ")
    assert cut
    assert set(head.split()) | set(tail.split()) <= set(text.split())
    assert (head.split()[0], tail.split()[-1]) == ("word0", "word499")


def test_text_without_any_gap_is_cut_anywhere() -> None:
    short, cut = shorten("\u96e8" * 900, 60, n_bytes)
    assert cut
    assert short.strip("\u96e8") == " \u2026 "
    assert n_bytes(short) > 30


def test_nothing_is_told_twice() -> None:
    """Also where the blanks that were dropped would have left room for everything."""
    short, cut = shorten("Start." + " " * 3000 + "End.", 100, lambda t: 1 + len(t) // 16)
    assert cut
    assert (short.count("Start."), short.count("End.")) == (1, 1)
    whole = sentences(40)
    for limit in range(1, 240):
        short, _ = shorten(whole, limit, lambda t: len(t) // 5)
        assert all(short.count(f"number {i}.") <= 1 for i in range(40))


@pytest.mark.parametrize("text", ["x" * 2**20, "Hi. " * 2**18, "\U0001f43a" * 2**18, " " * 2**20])
def test_a_megabyte_takes_no_time(text: str) -> None:
    counted = []

    def count(t: str) -> int:
        counted.append(len(t))
        return n_bytes(t)

    began = time.process_time()
    short, cut = shorten(text, 800, count)
    assert cut
    assert n_bytes(short) <= 800
    assert sum(counted) < 20 * 16 * 800, "a tokenizer would have been busy for long"
    assert time.process_time() - began < 1


def test_no_room_at_all_leaves_nothing() -> None:
    assert shorten("Hello there, you.", 1, len) == ("", True)
    assert shorten("Hello there, you.", 0, len) == ("", True)
    assert shorten("", 0, len) == ("", False)


# -- Voice -------------------------------------------------------------------------------------


def test_markup_is_markup_and_words_are_words() -> None:
    chat_format = FakeLlama().chat_format()
    assert chat_format.open == [START, *b"user\n"]
    assert chat_format.close == [END, ord("\n"), START, *b"assistant\n"]
    assert chat_format.end == [END, ord("\n")]
    assert chat_format.extra == []
    assert chat_format.words("<|im_end|>") == list(b"<|im_end|>")


def test_a_beginning_with_a_system_role() -> None:
    tokens, is_open = FakeLlama().chat_format().beginning("Be <|im_end|> Mara.")
    system = [START, *b"system\nBe <|im_end|> Mara.", END, ord("\n")]
    assert (tokens, is_open) == ([BOS, *system], False)


def test_a_beginning_with_no_system_role_leaves_a_user_turn_open() -> None:
    tokens, is_open = FakeLlama().chat_format(GEMMA).beginning("Be Mara.")
    assert (tokens, is_open) == ([BOS, START, *b"user\nBe Mara.\n\n"], True)


def test_a_beginning_without_persona() -> None:
    assert FakeLlama().chat_format().beginning("") == ([BOS], False)
    assert FakeLlama(add_bos=False).chat_format().beginning("") == ([], False)


WORLDS = ["The sea. ", "No", "\n", "<|im_end|>", "{{char}}.", "\u6d77\u3002"]


@pytest.mark.parametrize("template", [None, GEMMA])
@given(world=st.sampled_from(WORLDS).map(str.strip).filter(bool) | texts.map(clean).filter(bool),
       persona=texts)  # fmt: skip
def test_a_world_comes_first_and_in_the_same_tokens(
    template: str | None, world: str, persona: str
) -> None:
    fake = FakeLlama(world=world)
    chat_format = fake.chat_format(template)
    n_world = len(chat_format.world_tokens)
    tokens, is_open = chat_format.beginning(persona)
    assert tokens[:n_world] == chat_format.world_tokens
    assert is_open == (template is not None)
    whole, _ = FakeLlama().chat_format(template).beginning(f"{world}\n\n{persona}")
    assert tokens == whole


def test_without_a_world_there_are_no_tokens_of_it() -> None:
    assert FakeLlama().chat_format().world_tokens == []


def test_bos_comes_once_where_vocabulary_or_template_want_it() -> None:
    template = "{{ bos_token }}" + GEMMA.replace("{{ bos_token }}", "")
    for add_bos, bos, text, expected in [
        (True, BOS, "<s>", [BOS]),
        (False, BOS, "<s>", [BOS]),
        (True, -1, "", []),
    ]:
        fake = FakeLlama(add_bos=add_bos, bos=bos)
        chat_format = ChatFormat(fake, probe(template, bos=text, eos="<|im_end|>"))
        assert chat_format.beginning("Hi.")[0] == [*expected, START, *b"user\nHi.\n\n"]
    plain = ChatFormat(FakeLlama(add_bos=False), probe(None))
    assert plain.beginning("Hi.")[0][0] == START


@given(st.text(st.characters(codec="utf-8")), st.integers(0, 60))
def test_a_text_that_was_made_to_fit_fits(text: str, n_tokens: int) -> None:
    chat_format = FakeLlama().chat_format()
    short, cut = chat_format.fit(text, n_tokens)
    assert len(chat_format.words(short)) <= n_tokens
    assert cut == (short != text)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "\t\r\n", "\x00\x00", "\x1b", "\x85", "\xa0", "\xad", "\u034f", "\u061c"),
        *("\u1160", "\u180e", "\u200b", "\u200d\u200c", "\u200e\u200f", "\u2028\u2029"),
        *("\u202a \u202c", "\u2060", "\u2066\u2069", "\u2800", "\u3000", "\u3164", "\ufe0f"),
        *("\ufeff", "\uffa0", "\U000e0041"),
    ],
)
def test_what_cannot_be_seen_is_no_text(text: str) -> None:
    assert clean(text) == ""
    assert "." in clean(f"{text}.{text}")


@pytest.mark.parametrize(
    "text", ["a", "\u0301", "\u2764\ufe0f", "\u0645\u06cc\u200c\u062e", "\u3002", "\ufffd"]
)
def test_what_can_be_seen_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_all_that_unicode_says_to_ignore_is_unseen() -> None:
    """Format characters and separators, but those that have a shape of their own."""
    shown = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
    shown |= set(range(0x13430, 0x13440))
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp"):
            assert bool(clean(chr(code))) == (code in shown), hex(code)
