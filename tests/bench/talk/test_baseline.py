"""The baseline does as well as it can: it reads only what is new, until turns have to go.

Out of its process turns come back, and so does every way to fail.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from npc_engine.bench.talk.baseline import Baseline, BaselineProcess
from npc_engine.bench.talk.figures import Turn
from npc_engine.cards.small_talk import lines
from npc_engine.errors import ModelError

PERSONA = "You are Mara, who keeps the Crooked Lantern inn. " * 4
N_CTX, MAX_TOKENS = 256, 12


@pytest.fixture
def baseline(tiny_llama: Path) -> Iterator[Baseline]:
    with closing(Baseline(str(tiny_llama), PERSONA, N_CTX, 1, MAX_TOKENS)) as baseline:
        yield baseline


@pytest.mark.model
def test_it_reads_again_only_when_turns_have_gone(baseline: Baseline) -> None:
    turns = [baseline.say(line) for line in lines(12)]
    before = [t for t in turns[1:] if not t.overflow]
    after = [t for t in turns if t.overflow]
    assert before
    assert after
    assert turns[0].n_read > turns[0].n_message + 40  # the persona
    for turn in turns:
        assert turn.n_message < turn.n_read <= N_CTX - MAX_TOKENS
        assert 0 < turn.n_decoded <= MAX_TOKENS
        assert 0 < turn.ttft_ms <= turn.total_ms
    assert max(t.n_read for t in after) > 100


@pytest.mark.model
def test_the_persona_and_the_newest_turns_stay(baseline: Baseline) -> None:
    said = lines(12)
    for line in said:
        baseline.say(line)
    messages = baseline._messages
    assert messages[0] == {"role": "system", "content": PERSONA}
    assert [m["role"] for m in messages[1:3]] == ["user", "assistant"]
    assert messages[-2]["content"] == said[-1]
    assert 3 < len(messages) < 2 * len(said)


@pytest.mark.model
def test_a_line_that_never_fits_fails_alone(baseline: Baseline) -> None:
    baseline.say("Hello.")
    with pytest.raises(ValueError, match="more than the window"):
        baseline.say("the tide " * N_CTX)
    assert baseline.say("Hello again.").n_decoded > 0


@pytest.mark.model
def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "no.gguf"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"no\.gguf"):
        Baseline(str(path), PERSONA, N_CTX, 1, MAX_TOKENS)


class Stub:
    """A baseline without a model."""

    def __init__(self, greeting: str) -> None:
        if greeting == "unloadable":
            raise ValueError("no such model")
        self.n_turns = 0

    def say(self, text: str) -> Turn:
        if text == "break":
            raise RuntimeError("llama_decode returned -3")
        if text == "die":
            os._exit(9)
        self.n_turns += 1
        return Turn(self.n_turns, False, len(text), 1, 1, 1.0, 2.0, 3)


@pytest.fixture
def process() -> Iterator[BaselineProcess]:
    with closing(BaselineProcess(Stub, "hello")) as process:
        yield process


def test_turns_come_back(process: BaselineProcess) -> None:
    assert [process.say("abc"), process.say("de")] == [
        Turn(1, False, 3, 1, 1, 1.0, 2.0, 3),
        Turn(2, False, 2, 1, 1, 1.0, 2.0, 3),
    ]


def test_an_error_is_a_sentence_and_the_talk_goes_on(process: BaselineProcess) -> None:
    assert process.say("break") == "RuntimeError: llama_decode returned -3"
    assert isinstance(process.say("abc"), Turn)


def test_a_child_that_dies_says_how(process: BaselineProcess) -> None:
    assert process.say("die") == "the process had ended with status 9"
    assert process.say("abc") == "the process had ended with status 9"


def test_what_cannot_be_loaded_fails_each_turn() -> None:
    with closing(BaselineProcess(Stub, "unloadable")) as process:
        assert process.say("abc") == "ValueError: no such model"


def test_closing_ends_the_child(process: BaselineProcess) -> None:
    process.say("abc")
    process.close()
    assert process._child.exitcode == 0
