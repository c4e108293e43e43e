"""The child: turns come back, and so does every way to fail."""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from npc_engine.bench.talk.baseline_process import BaselineProcess
from npc_engine.bench.talk.figures import Turn


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
def baseline() -> Iterator[BaselineProcess]:
    with closing(BaselineProcess(Stub, "hello")) as baseline:
        yield baseline


def test_turns_come_back(baseline: BaselineProcess) -> None:
    assert [baseline.say("abc"), baseline.say("de")] == [
        Turn(1, False, 3, 1, 1, 1.0, 2.0, 3),
        Turn(2, False, 2, 1, 1, 1.0, 2.0, 3),
    ]


def test_an_error_is_a_sentence_and_the_talk_goes_on(baseline: BaselineProcess) -> None:
    assert baseline.say("break") == "RuntimeError: llama_decode returned -3"
    assert isinstance(baseline.say("abc"), Turn)


def test_a_child_that_dies_says_how(baseline: BaselineProcess) -> None:
    assert baseline.say("die") == "the process had ended with status 9"
    assert baseline.say("abc") == "the process had ended with status 9"


def test_what_cannot_be_loaded_fails_each_turn() -> None:
    with closing(BaselineProcess(Stub, "unloadable")) as baseline:
        assert baseline.say("abc") == "ValueError: no such model"


def test_closing_ends_the_child(baseline: BaselineProcess) -> None:
    baseline.say("abc")
    baseline.close()
    assert baseline._child.exitcode == 0
