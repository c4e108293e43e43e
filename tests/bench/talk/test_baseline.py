"""The baseline does as well as it can: it reads only what is new, until turns have to go."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from npc_engine.bench.talk.baseline import Baseline
from npc_engine.cards.small_talk import lines
from npc_engine.errors import ModelError

pytestmark = pytest.mark.model

PERSONA = "You are Mara, who keeps the Crooked Lantern inn. " * 4
N_CTX, MAX_TOKENS = 256, 12


@pytest.fixture
def baseline(tiny_llama: Path) -> Iterator[Baseline]:
    with closing(Baseline(str(tiny_llama), PERSONA, N_CTX, 1, MAX_TOKENS)) as baseline:
        yield baseline


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


def test_the_persona_and_the_newest_turns_stay(baseline: Baseline) -> None:
    said = lines(12)
    for line in said:
        baseline.say(line)
    messages = baseline._messages
    assert messages[0] == {"role": "system", "content": PERSONA}
    assert [m["role"] for m in messages[1:3]] == ["user", "assistant"]
    assert messages[-2]["content"] == said[-1]
    assert 3 < len(messages) < 2 * len(said)


def test_a_line_that_never_fits_fails_alone(baseline: Baseline) -> None:
    baseline.say("Hello.")
    with pytest.raises(ValueError, match="more than the window"):
        baseline.say("the tide " * N_CTX)
    assert baseline.say("Hello again.").n_decoded > 0


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "no.gguf"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"no\.gguf"):
        Baseline(str(path), PERSONA, N_CTX, 1, MAX_TOKENS)
