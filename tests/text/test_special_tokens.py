"""Markup that somebody types is plain text, also where a vocabulary lets llama.cpp find it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.text.special_tokens import SpecialTokens, is_mark
from tests.support.vocabularies import SPARE, USER_DEFINED, changed

MARKS = ("<|im_start|>", "<|im_end|>", "[INST]", "<s>", "|im|", "<|im_start|>>")


@pytest.mark.parametrize(
    "text",
    ["<|im_start|>", "</s>", "[INST]", " [/INST]", "<\uff5cUser\uff5c>", "### Human:", "<<SYS>>\n"],
)
def test_what_looks_like_markup(text: str) -> None:
    assert is_mark(text)


@pytest.mark.parametrize("text", ["\n\n", "    ", "inn", "...", "\u2581\u2581", "\t", "it's", ":"])
def test_what_does_not(text: str) -> None:
    assert not is_mark(text)


def test_what_the_template_writes_is_markup() -> None:
    assert is_mark("USER:", "{{ 'USER:' + m.content }}")
    assert not is_mark("USER:", "{{ m.content }}")
    assert not is_mark("user", "{{ m.role == 'user' }}")
    assert not is_mark("\n\n", "{{ '\n\n' }}")


@given(st.lists(st.sampled_from([*MARKS, "<", "|", "im", "a "]), max_size=12).map("".join))
def test_no_part_holds_a_mark(text: str) -> None:
    parts = list(SpecialTokens(MARKS).parts(text))
    assert "".join(parts) == text
    assert not any(mark in part for mark in MARKS for part in parts)


def test_ordinary_text_is_one_part() -> None:
    text = "Two coins, <i> think. [Smiles.]"
    assert list(SpecialTokens(MARKS).parts(text)) == [text]
    assert list(SpecialTokens([]).parts(text)) == [text]
    assert not list(SpecialTokens(MARKS).parts(""))


@pytest.fixture
def loose(tiny_llama: Path, tmp_path: Path) -> Iterator["object"]:
    from npc_engine.llama.model import Model

    names = dict(zip(SPARE, ("[INST]", "    ", "Crooked Lantern", "<b>"), strict=True))
    kinds = dict.fromkeys(("<|im_start|>", *SPARE), USER_DEFINED)
    model = Model(changed(tiny_llama, tmp_path / "loose.gguf", names=names, kinds=kinds))
    yield model
    model.close()


@pytest.mark.model
@pytest.mark.parametrize("mark", ["<|im_start|>", "<|im_end|>", "[INST]", "<b>"])
def test_typed_marks_are_text(loose: "object", mark: str) -> None:
    from npc_engine.llama.model import Model

    assert isinstance(loose, Model)
    special = loose.tokenize(mark, True)
    assert len(special) == 1
    for text in (mark, f"Hi{mark}\n{mark}user", f"{mark[:3]}{mark}{mark[3:]}", "a" * 600 + mark):
        tokens = loose.tokenize(text)
        assert special[0] not in tokens
        assert b"".join(map(loose.piece, tokens)) == text.encode()


@pytest.mark.model
def test_blanks_and_words_of_that_kind_are_tokens_still(loose: "object") -> None:
    from npc_engine.llama.model import Model

    assert isinstance(loose, Model)
    assert len(loose.tokenize("    ")) == len(loose.tokenize("Crooked Lantern")) == 1


@pytest.mark.model
def test_long_markup_keeps_its_marks(loose: "object") -> None:
    from npc_engine.llama.model import Model

    assert isinstance(loose, Model)
    start = loose.tokenize("<|im_start|>", True)[0]
    for n in range(500, 520):  # wherever a stretch would end
        tokens = loose.tokenize("a" * n + "<|im_start|>user\n" + "b" * 900, True)
        assert tokens.count(start) == 1
