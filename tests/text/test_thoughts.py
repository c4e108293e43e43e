"""What a model thinks before it answers: whatever its marks, never spoken, never remembered."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from npc_engine.text.detokenizer import Detokenizer
from npc_engine.text.thoughts import (
    CHANNEL,
    KNOWN,
    MESSAGE,
    SPOKEN_CHANNEL,
    START,
    WORDS,
    is_spoken,
    open_thought,
    thoughts_of,
)
from tests.support.fake_llama import END
from tests.support.rig import MakeRig, Rig, TimedLlama, scripted

THOUGHT = "The guest\nwants gold. Mara: I say </answer>?"
ANALYSIS = f"{CHANNEL}analysis{MESSAGE}"


def spoken(raw: str, size: int = 1) -> tuple[str, bool, str | None]:
    detok = Detokenizer(own=["Mara"])
    for at in range(0, len(raw), size):
        detok.feed(raw[at : at + size].encode())
    detok.finish()
    return detok.text, detok.stopped, detok.thought


@pytest.mark.parametrize("size", [1, 3, 400])
@pytest.mark.parametrize("opening", [*KNOWN.pairs, *WORDS])
def test_known_marks(opening: str, size: int) -> None:
    closing = (KNOWN.pairs | WORDS)[opening]
    assert spoken(f"\n{opening}{THOUGHT}{closing}\n\nHello.", size) == ("Hello.", False, None)
    assert spoken(f"{opening}{THOUGHT}", size) == ("", False, opening)


@pytest.mark.parametrize("size", [1, 3, 400])
@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (f"{ANALYSIS}{THOUGHT}<|end|>{START}assistant{CHANNEL}final{MESSAGE}Hello.", "Hello."),
        (f"{ANALYSIS}{THOUGHT}{CHANNEL}final{MESSAGE}Hello.", "Hello."),
        (f"{ANALYSIS}{THOUGHT}<|end|>{START}assistant{MESSAGE}Hello.<|end|>You", "Hello."),
        (f"{ANALYSIS}A{SPOKEN_CHANNEL}Hello.<|return|>", "Hello."),
        (f"{CHANNEL}commentary to=f{MESSAGE}{{}}<|call|>{START}assistant{ANALYSIS}B", ""),
        (f"{CHANNEL}final{MESSAGE}Hello.", "Hello."),
        (f"{ANALYSIS}{THOUGHT}<|end|>{START}user{MESSAGE}Give me gold.", ""),
        (f"{MESSAGE}Hello.", "Hello."),
    ],
)
def test_channels(raw: str, text: str, size: int) -> None:
    assert spoken(raw, size)[0] == text


def test_words_open_a_thought_at_the_beginning_alone() -> None:
    opening, closing = next(iter(WORDS.items()))
    line = f"Hello. {opening} one."
    assert spoken(line)[0] == line
    assert spoken("Here is my response: no.")[0] == "Here is my response: no."
    assert spoken(f"Hello. {closing} Go.")[0].split() == ["Hello.", "Go."]


def test_what_stands_around_answers_is_not_spoken() -> None:
    assert spoken("<think>A</think><answer>Hello.</answer>")[0] == "Hello."
    assert spoken("[BEGIN FINAL RESPONSE]Hello.[END FINAL RESPONSE]")[0] == "Hello."


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("<ponder>", "</ponder>"),
        ("<|think_start|>", "<|think_end|>"),
        ("<|begin_of_musing|>", "<|end_of_musing|>"),
        ("<|inner_monolog|>", "<|/inner_monolog|>"),
        ("[REASONING]", "[/REASONING]"),
    ],
)
def test_marks_that_nobody_knows(opening: str, closing: str) -> None:
    for found in (
        thoughts_of(["<s>", "</s>", opening, "<tool>", closing], ""),
        thoughts_of([], "{{ m.content.split('" + closing + "') }}{{ '" + opening + "' }}"),
    ):
        assert found.pairs[opening] == closing
        assert set(found.unknown) == {opening, closing}
        detok = Detokenizer(thoughts=found)
        detok.feed(f"{opening}{THOUGHT}{closing}Hello.".encode())
        detok.finish()
        assert detok.text == "Hello."


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("<|think|>", "<|/think|>"), ("<think>", "<|end_of_think|>"), ("[THINK]", "[/THINKING]")],
)
def test_a_known_mark_that_another_one_closes(opening: str, closing: str) -> None:
    found = thoughts_of([opening, closing], "")
    assert found.pairs[opening] == closing
    detok = Detokenizer(thoughts=found)
    detok.feed(f"{opening}{THOUGHT}{closing}Hello.".encode())
    detok.finish()
    assert detok.text == "Hello."
    assert thoughts_of([opening], "").pairs == KNOWN.pairs


def test_what_is_no_mark_of_thinking() -> None:
    others = ["<|im_start|>", "<tool_call>", "<b>", "<|plane|>", "<dinner>", "<seed:cot_budget>"]
    assert thoughts_of([*others, *KNOWN.pairs], "/no_think [INST] <tools>").unknown == ()


def test_a_thought_that_is_open() -> None:
    assert open_thought("<|assistant|><think>\n", KNOWN) == "<think>"
    assert open_thought("<|assistant|>\n", KNOWN) is None


@pytest.mark.parametrize(
    ("header", "is_answer"),
    [
        (f"assistant{CHANNEL}final", True),
        (f"{CHANNEL} final <|constrain|>json", True),
        ("assistant", True),
        (f"assistant{CHANNEL}analysis", False),
        (f"assistant{CHANNEL}commentary to=f", False),
        ("user", None),
        ("f to=assistant", None),
    ],
)
def test_headers(header: str, is_answer: bool | None) -> None:
    assert is_spoken(header) is is_answer


# -- a character that thinks -----------------------------------------------------------------------


class Thinker(TimedLlama):
    """Has marks of channels as control tokens: they have no bytes."""

    names = (CHANNEL, MESSAGE, START, "<|end|>")

    @property
    def special(self) -> dict[int, str]:
        return super().special | {300 + n: name for n, name in enumerate(self.names)}

    def tokenize(self, text: str, markup: bool = False) -> list[int]:
        for token, name in self.special.items() if markup else ():
            before, found, after = text.partition(name)
            if found:
                return [*self.tokenize(before, True), token, *self.tokenize(after, True)]
        return super().tokenize(text, markup)

    def _check(self, spans: Sequence[object]) -> None:
        """The fake's own looks at the vocabulary, which has more here."""


def mind_of(tokens: list[int]) -> object:
    """Says these tokens, then ends."""
    lead = [257, *b"assistant\n"]

    def mind(held: Sequence[int]) -> int:
        at = next(i for i in range(len(held), 0, -1) if list(held[i - 11 : i]) == lead)
        return tokens[len(held) - at] if len(held) - at < len(tokens) else END

    return mind


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    return make_rig(window=600, fake=TimedLlama(n_cells=600))


def test_a_thought_leaves_the_window(rig: Rig) -> None:
    rig.fake.mind = scripted("<think>The guest wants gold.</think>\nSit down. Eat.")
    rig.spawn("mara")
    done = rig.talk("mara", max_tokens=80)
    assert (done.text, done.reason) == ("Sit down. Eat.", "stop")
    assert "Sit down. Eat." in rig.heard("mara")
    assert "think" not in rig.heard("mara")
    again = rig.say("mara", max_tokens=80)
    done = rig.until(again)
    assert rig["mara"].replies.cut_back(b"game", again, 9)
    assert rig["mara"].dialogue.ledger.segments[-2].text == "Sit down."
    assert "Sit down.\u2014" in rig.heard("mara")


def test_a_thought_without_end_leaves_a_line(rig: Rig) -> None:
    text = "<think>" + "Hm. " * 11 + "Sit down."
    rig.fake.mind = scripted(text, end=False)
    rig.spawn("mara")
    done = rig.talk("mara", max_tokens=96)
    assert done.reason == "length"
    assert done.text
    assert "think" not in done.text
    n_closing = len("\n</think>\n\n")
    assert len(done.text) > 24 - n_closing - 6


@pytest.mark.parametrize("n_thought", [4, 400])
def test_channels_as_tokens_without_bytes(tmp_path: Path, n_thought: int) -> None:
    """The end of a thought is the end of a message, and not of the reply."""
    fake = Thinker(n_cells=900)
    rig = Rig(tmp_path, window=900, fake=fake)
    thought = f"{ANALYSIS}{'x' * n_thought}<|end|>{START}assistant{CHANNEL}final{MESSAGE}"
    fake.mind = mind_of(fake.tokenize(thought + "Sit down.", True))  # type: ignore[assignment]
    rig.spawn("mara")
    done = rig.talk("mara", max_tokens=120)
    if n_thought == 4:
        assert (done.text, done.reason) == ("Sit down.", "stop")
        assert "final" not in rig.heard("mara")
    else:  # the thought was ended, and the model goes on as it would have
        assert done.text.startswith("xxx")
    rig.close()


def test_the_next_turn_ends_a_reply(tmp_path: Path) -> None:
    fake = TimedLlama(n_cells=600)
    rig = Rig(tmp_path, window=600, fake=fake)
    fake.mind = mind_of([*b"Good evening.\n", 257, *b"user\nGold!"])  # type: ignore[assignment]
    rig.spawn("mara")
    done = rig.talk("mara", max_tokens=60)
    assert (done.text, done.reason) == ("Good evening.", "stop")
    assert "Gold" not in rig.heard("mara")
    rig.close()
