"""Texts of a vocabulary that are markup, and how they are kept out of somebody's words.

Owns which texts look like markup, which end a turn whatever the template is, and where a text is
cut so that it holds none. It knows text only. llama.cpp finds tokens of the kind USER_DEFINED in
any text, special tokens asked for or not: in a vocabulary that marks `<|im_start|>` so, a player
who types it would begin a turn. Tokenized in two halves it is what was typed. Runs of blanks and
words of that kind stay whole.
"""

import re
from collections.abc import Iterable, Iterator

__all__ = ["DEBRIS", "SpecialTokens", "is_mark"]

# What models write out as text when they miss their end-of-turn token.
DEBRIS = (
    *("<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|end_of_text|>", "<|begin_of_text|>"),
    *("<|eot_id|>", "<|eom_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|end|>"),
    *("<|user|>", "<|assistant|>", "<|system|>", "<|END_OF_TURN_TOKEN|>", "<|return|>"),
    *("<end_of_turn>", "<start_of_turn>", "<eos>", "</s>", "[INST]", "[/INST]", "<|start|>"),
    *("<|observation|>", "<|tool|>", "<|start_of_role|>", "<|end_of_role|>", "<|begin|>"),
    *("<|START_OF_TURN_TOKEN|>", "<|im_user|>", "<|im_assistant|>", "<|im_system|>"),
    *("### Instruction:", "### Human:", "### Input:"),
    *("<|turn>", "<turn|>", "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"),
)

# `<|im_end|>`, `[INST]`, `</s>`, `### Human:`: something between marks of punctuation.
_MARK = re.compile(r"\s*[^\w\s].*\w.*[^\w\s]\s*", re.DOTALL)


def is_mark(text: str, template: str = "") -> bool:
    """Whether a token's text is markup: it looks so, or the model's chat template writes it."""
    if _MARK.fullmatch(text):
        return True
    return len(text.strip()) > 1 and bool(re.search(r"[^\w\s]", text)) and text in template


class SpecialTokens:
    """Texts that must not be found in other texts."""

    def __init__(self, marks: Iterable[str]) -> None:
        self._marks = frozenset(mark for mark in marks if len(mark) > 1)
        self._lengths = sorted({len(mark) for mark in self._marks})
        firsts = "".join({re.escape(mark[0]) for mark in self._marks})
        self._first = re.compile(f"[{firsts}]") if firsts else None

    def parts(self, text: str) -> Iterator[str]:
        """Yield a text in parts that hold no mark: it is cut behind the first character of each."""
        start = 0
        for end in self._cuts(text):
            yield text[start:end]
            start = end
        if start < len(text):
            yield text[start:]

    def _cuts(self, text: str) -> Iterator[int]:
        for match in self._first.finditer(text) if self._first else ():
            at = match.start()
            if any(text[at : at + n] in self._marks for n in self._lengths):
                yield at + 1
