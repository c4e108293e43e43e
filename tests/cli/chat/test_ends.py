"""Vocabularies as people publish them: what ends a reply, and what of it is thought."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from npc_engine.client.in_process import Engine
from npc_engine.llama.model import Model
from npc_engine.loading import chat_format_of
from tests.support.vocabularies import CONTROL, SPARE, USER_DEFINED, changed

pytestmark = pytest.mark.model
CARD = {"name": "Mara", "description": "Keeps the inn."}
ENDTURN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|endturn|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GLM = (
    "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
Say = Callable[..., tuple[Any, list[str], list[str]]]


@pytest.fixture
def say(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Say]:
    """Asks a character of a changed model; it says tokens, by their names, and texts."""
    opened: list[Engine] = []

    def say(says: list[str], names: dict[str, str], kind: int, **fields: Any) -> Any:
        path = changed(
            tiny_llama,
            tmp_path / "model.gguf",
            names=names,
            kinds=dict.fromkeys(names, kind),
            **fields,
        )
        layout: dict[str, Any] = {
            "kv_type": "f32",
            "flash_attn": "off",
            "threads": 1,
            "saves": str(tmp_path),
        }
        engine = Engine.open(str(path), slots=1, window=512, **layout)
        opened.append(engine)
        model = engine.core.backend.model  # type: ignore[attr-defined]
        tokens = [t for text in says for t in model.tokenize(text, True)]
        script = iter([*tokens, *[model.eos] * 99])
        monkeypatch.setattr(engine.core.backend, "sample", lambda *_args: next(script))
        engine.spawn("mara", CARD)
        speech = engine.say("mara", "Hello.", max_tokens=60, stream=["line"])
        lines = [record.text for record in speech]
        remembered = [e.text for t in engine.transcript("mara").turns for e in t.entries]
        return speech.done, lines, remembered

    yield say
    for engine in opened:
        engine.close()


@pytest.mark.parametrize("kind", [CONTROL, USER_DEFINED])
def test_what_the_template_writes_after_a_reply_ends_it(say: Say, kind: int) -> None:
    says = ["Good evening.", "<|endturn|>", "\n", "user\nGive me gold."]
    names = {"<|im_end|>": "<|endturn|>"}
    fields = {"tokenizer__chat_template": ENDTURN, "tokenizer__ggml__eos_token_id": 0}
    done, lines, remembered = say(says, names, kind, **fields)
    assert (done.reason, lines, remembered[-1]) == ("stop", ["Good evening."], "Good evening.")


@pytest.mark.parametrize("opener", ["<|user|>", "<|observation|>", "<|assistant|>"])
def test_where_nothing_closes_a_turn_the_next_one_does(say: Say, opener: str) -> None:
    others = ("<|user|>", "<|assistant|>", "<|system|>", "<|observation|>")
    names = dict(zip(SPARE, others, strict=True))
    says = ["Good evening.", "\n", opener, "\nGive me gold."]
    done, lines, remembered = say(says, names, CONTROL, tokenizer__chat_template=GLM)
    assert (done.reason, lines, remembered[-1]) == ("stop", ["Good evening."], "Good evening.")


def test_chatml_that_goes_on_with_the_next_turn(say: Say) -> None:
    done, lines, _ = say(["Good evening.", "\n", "<|im_start|>", "user\nGold!"], {}, CONTROL)
    assert (done.reason, lines) == ("stop", ["Good evening."])


@pytest.mark.parametrize("kind", [CONTROL, USER_DEFINED])
@pytest.mark.parametrize("marks", [("<think>", "</think>"), ("[THINK]", "[/THINK]")])
def test_thoughts_in_tokens_of_either_kind(say: Say, marks: tuple[str, str], kind: int) -> None:
    names = dict(zip(SPARE, marks, strict=False))
    says = [marks[0], "The guest wants gold. Does he?", marks[1], "\n\nHello. Sit."]
    done, lines, remembered = say(says, names, kind)
    assert (done.text, lines, remembered[-1]) == ("Hello. Sit.", ["Hello.", "Sit."], "Hello. Sit.")


def test_marks_that_nobody_knows_are_told(
    say: Say, caplog: pytest.LogCaptureFixture, tiny_llama: Path, tmp_path: Path
) -> None:
    marks = ("<|ponder_begin|>", "<|ponder_end|>")
    with caplog.at_level(logging.WARNING, "npc_engine"):
        done, lines, _ = say(
            [marks[0], "Gold.", marks[1], "Hello."], dict(zip(SPARE, marks, strict=False)), CONTROL
        )
    assert (done.text, lines) == ("Hello.", ["Hello."])
    assert "think aloud" in caplog.text
    assert marks[0] in caplog.text


def test_markup_whose_tokens_are_not_there(tiny_llama: Path, tmp_path: Path) -> None:
    names = {"<|im_start|>": "<|a|>", "<|im_end|>": "<|b|>"}
    path = changed(
        tiny_llama, tmp_path / "m.gguf", names=names, tokenizer__chat_template="{{ 1/0 }}"
    )
    model = Model(path)
    try:
        chat_format = chat_format_of(model)
        assert "plain text" in (chat_format.notice or "")
        assert "im_start" not in str(chat_format.pieces)
    finally:
        model.close()
