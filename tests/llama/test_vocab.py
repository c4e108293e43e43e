"""Long runs in short stretches: nothing is lost, and words stay whole."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from npc_engine.llama.vocab import MAX_RUN, stretches
from tests.support.paths import ROOT
from tests.support.vocabularies import changed

texts = st.text() | st.text(st.sampled_from("a \n.\u3002\u4f60\U0001f43a"), min_size=MAX_RUN * 3)


@given(texts)
@example("a" * 5000)
@example(" " * 5000)
@example("a" * MAX_RUN + " b")
def test_nothing_is_lost_and_none_is_long(text: str) -> None:
    pieces = list(stretches(text))
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= MAX_RUN for piece in pieces)
    assert len(pieces) <= 1 or len(text) > MAX_RUN


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("Two old inns. " * 100, " "),
        ("It's hers,\n\nisn't it? " * 100, " "),
        ("inn\n" * 300, "\n"),
        ("\u6211\u4eec\u53bb\u516c\u56ed\uff0c\u597d\u5417\uff1f" * 100, "\uff0c\uff1f"),
    ],
)
def test_ordinary_text_is_cut_where_words_end(text: str, begins: str) -> None:
    first, *rest = stretches(text)
    assert len(first) > MAX_RUN - 20
    assert rest and all(piece[0] in begins for piece in rest)


CHILD = """
import sys, threading
from pathlib import Path
from npc_engine.llama.model import Model
model = Model(Path(sys.argv[1]))
runs = ["a", "A", "7", "!", " ", "\\n", "<", "a1!", "e\\u0301", "\\u4f60", "\\U0001f43a", "a b "]

def tokenize():
    for run in runs:
        for markup in (False, True):
            text = run * (20_000 // len(run))
            pieces = map(model.piece, model.tokenize(text, markup))
            assert b"".join(pieces) == text.encode(), run
    print("alive")

threading.stack_size(1 << 20)
thread = threading.Thread(target=tokenize)
thread.start()
thread.join()
"""


@pytest.mark.model
@pytest.mark.parametrize("kind", ["tekken", "gpt-4o"])
def test_a_run_does_not_end_the_process(tiny_llama: Path, tmp_path: Path, kind: str) -> None:
    """Pre-tokenizers that llama.cpp does by std::regex, in a thread of a game."""
    model = changed(tiny_llama, tmp_path / "model.gguf", tokenizer__ggml__pre=kind)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(model)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "alive"), done.stderr[-500:]


@pytest.mark.model
@pytest.mark.parametrize("kind", ["smollm", "tekken", "llama-bpe", "deepseek-v3"])
def test_ordinary_text_has_the_tokens_it_had(tiny_llama: Path, tmp_path: Path, kind: str) -> None:
    from npc_engine.llama.model import Model

    model = Model(changed(tiny_llama, tmp_path / "model.gguf", tokenizer__ggml__pre=kind))
    try:
        for name in (
            "README.md",
            "ARCHITECTURE.md",
            "docs/protocol.md",
            "npc_engine/cards/card.py",
        ):
            text = (ROOT / name).read_text(encoding="utf-8")
            assert model.tokenize(text) == model._tokens(text, False), name
    finally:
        model.close()
