"""How one model writes a chat, in tokens: its template's pieces, tokenized once.

Owns the way from words to segments' tokens, and cutting a text that is too long. It knows the
vocabulary and the template, but no positions and no KV cache.
"""

import codecs
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from npc_engine.text.chat_template import Pieces, Text, probe
from npc_engine.text.sentence_ends import TERMINALS
from npc_engine.text.special_tokens import DEBRIS, is_mark
from npc_engine.text.thoughts import BETWEEN, START, TURN_ENDS, thoughts_of
from npc_engine.text.visible import is_visible

__all__ = ["ChatFormat", "Vocabulary", "clean", "most_characters", "shorten"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufeff\ud800-\udfff]")
_SENTENCE = re.compile(rf"(?<=[{TERMINALS}])\s+|\n+")
_GAP = " \u2026 "
_WORLD_END = "\n\n"  # between the world and the persona: a paragraph
_MAX_CHARACTERS_PER_TOKEN = 16


class Vocabulary(Protocol):
    """What is needed of a model's tokenizer."""

    @property
    def add_bos(self) -> bool:
        """Whether a sequence begins with BOS."""

    @property
    def bos(self) -> int:
        """The BOS token, -1 when there is none."""

    @property
    def eog(self) -> frozenset[int]:
        """The tokens that end a reply."""

    @property
    def special(self) -> Mapping[int, str]:
        """The tokens that are markup, and their texts."""

    def tokenize(self, text: str, markup: bool = False) -> list[int]:
        """Return the tokens of a text; special tokens only in markup."""

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token."""


class Chatty(Vocabulary, Protocol):
    """A vocabulary that comes with a chat template."""

    @property
    def eos(self) -> int:
        """The EOS token, -1 when there is none."""

    @property
    def chat_template(self) -> str | None:
        """The Jinja2 chat template, when there is one."""

    def token_text(self, token: int) -> str:
        """Return a token as the vocabulary writes it, "" for none."""


class ChatFormat:
    """A vocabulary and the pieces of a chat template, ready as tokens.

    `world`: what every character knows. It stands before each persona, in the same tokens.
    `markup`: which markup it writes around what stays in a window.
    `template`: the source of the pieces, which may speak of marks around thoughts.
    """

    def __init__(
        self, vocabulary: Vocabulary, pieces: Pieces, world: str = "", template: str = ""
    ) -> None:
        self.vocabulary = vocabulary
        self.pieces = pieces
        self.world = world
        self.open = self._markup(pieces.user[0])
        self.close = self._markup(pieces.user[1] + pieces.reply[0])
        self.extra = self._markup(pieces.reply_extra)
        self.lead = self._markup(pieces.reply_lead)
        self.end = self._markup(pieces.reply[1])
        self.n_markup = sum(map(len, (self.open, self.close, self.extra, self.end)))
        self.world_tokens = self._world_tokens() if world else []
        self.markup = self._digest()
        special = vocabulary.special
        self.thoughts = thoughts_of(special.values(), template)
        self._marks = {t: text.encode() for t, text in special.items() if self._is_heard(text)}
        self.ends = vocabulary.eog | self._turn_marks(template)
        """The tokens that end a reply."""
        self.between = frozenset(t for t in self.ends if special.get(t) in BETWEEN)
        """Those of them that do not where a thought is a message of its own."""

    def _markup(self, text: str) -> list[int]:
        return self.vocabulary.tokenize(text, True) if text else []

    def _digest(self) -> str:
        persona = [self._bos(), *map(self._markup, self.pieces.system), self.pieces.joined]
        around = [persona, self.open, self.close, self.lead, self.end]
        return hashlib.sha256(repr(around).encode()).hexdigest()

    @classmethod
    def of(cls, model: Chatty, world: str = "") -> "ChatFormat":
        """Return how a model writes a chat, by its own template as far as it can be used."""
        pieces = probe(
            model.chat_template,
            bos=model.token_text(model.bos),
            eos=model.token_text(model.eos),
            has=frozenset(model.special.values()).__contains__,
        )
        return cls(model, pieces, world, model.chat_template or "")

    @property
    def notice(self) -> str | None:
        """What a developer should know of it, None when it is simply the model's own."""
        marks = ", ".join(self.thoughts.unknown[:6])
        unknown = marks and (
            f"The model may think aloud, in marks that are not known ({marks}): what stands "
            "between them is taken for thought, and is not spoken."
        )
        return " ".join(filter(None, (self.pieces.notice, unknown))) or None

    def _is_heard(self, text: str) -> bool:
        """Whether the detokenizer is to know of a token, whatever llama.cpp says of its bytes."""
        return text in self.thoughts.marks or text in (START, *TURN_ENDS)

    def _turn_marks(self, template: str) -> frozenset[int]:
        """Markup that the template writes around turns: a model that goes on with one is done.

        With what it writes around other roles, and what other templates write, where the
        vocabulary has it.
        """
        pieces, special = self.pieces, self.vocabulary.special
        around = (*pieces.system, pieces.bare, *pieces.user, *pieces.reply)
        found = {t for text in around for t in self._markup(text) if t in special}
        for token, text in special.items():
            if text in DEBRIS or (text in template and is_mark(text)):
                found.add(token)
        return frozenset(t for t in found if special[t] not in self.thoughts.marks)

    def closing(self, thought: str) -> list[int]:
        """Return the tokens that end a thought, by what opened it."""
        return self._markup(self.thoughts.closing(thought))

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token; of a mark around thoughts those that it is written with."""
        return self._marks.get(token) or self.vocabulary.piece(token)

    def words(self, text: str) -> list[int]:
        """Return the tokens of somebody's words: plain text, whatever stands in them."""
        return self.vocabulary.tokenize(text)

    def beginning(self, persona: str) -> tuple[list[int], bool]:
        """Return the tokens of the pinned beginning, and whether it leaves a user turn open.

        Where there is a world, `world_tokens` are the first of them, whatever the persona.
        """
        if self.world:
            after = self._markup(self.pieces.system[1])
            return self.world_tokens + self.words(persona) + after, self.pieces.joined
        runs: list[Text]
        runs, is_open = self.pieces.beginning(persona)
        tokens = self._bos()
        for run in runs:
            tokens += self.vocabulary.tokenize(run.text, run.markup)
        return tokens, is_open

    def _world_tokens(self) -> list[int]:
        """Tokenized apart from the persona: no token reaches over the seam."""
        before = self._markup(self.pieces.system[0])
        return self._bos() + before + self.words(self.world + _WORLD_END)

    def _bos(self) -> list[int]:
        vocabulary = self.vocabulary
        wants_bos = vocabulary.add_bos or self.pieces.bos_in_template
        return [vocabulary.bos] if wants_bos and vocabulary.bos >= 0 else []

    def beginning_of(self, tokens: Sequence[int], n_bytes: int) -> tuple[int, str]:
        """Return what the first `n_bytes` bytes of a reply are: n whole tokens, a rest as text."""
        pieces = [self.piece(token) for token in tokens]
        heard = _whole_characters(b"".join(pieces)[:n_bytes])
        n_tokens, n_kept = _whole_tokens(pieces, heard)
        return n_tokens, heard[n_kept:].decode("utf-8", "ignore")

    def fit(self, text: str, n_tokens: int) -> tuple[str, bool]:
        """Return a text of at most `n_tokens` tokens, and whether it had to be cut."""
        return shorten(text, n_tokens, lambda t: len(self.words(t)))


def clean(text: Any) -> str:
    """Return a text without control characters, in one kind of newline, stripped.

    One of which nothing would be seen is empty.
    """
    text = str(text)
    if not is_visible(text):
        return ""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def most_characters(n_tokens: int) -> int:
    """Return how long a text may be that is to have `n_tokens` at most.

    What is longer is not tokenized to find out: a megabyte of it would stall everybody.
    """
    return max(0, n_tokens) * _MAX_CHARACTERS_PER_TOKEN


def shorten(text: str, limit: int, count: Callable[[str], int]) -> tuple[str, bool]:
    """Cut the middle out of a text, at sentences, until `count(text) <= limit`.

    Keeps its head and its tail: how a message begins and what it ends with matter most.
    """
    if limit < 1:
        return "", bool(text)
    most = most_characters(limit)
    if len(text) <= most and count(text) <= limit:
        return text, False
    if len(text) > most:
        text = text[: most // 2] + "\n" + text[-(most // 2) :]
    n_characters = int(len(text) * limit / max(1, count(text)))
    while n_characters > len(_GAP):
        short = _head_and_tail(text, n_characters - len(_GAP))
        if count(short) <= limit:
            return short, True
        n_characters = int(n_characters * 0.9)
    return "", True


def _head_and_tail(text: str, n_characters: int) -> str:
    """Whole sentences from both ends, a third of the room for the head; words if none fits."""
    sentences = [s for s in _SENTENCE.split(text) if s]
    first = _whole(sentences, n_characters // 3)
    rest = sentences[max(1, len(first)) :]
    head = " ".join(first) or _cut_words(text, n_characters // 3)
    room = n_characters - len(head)
    tail = " ".join(_whole(rest[::-1], room)[::-1])
    if not tail and (rest or not first):  # else the head holds every sentence already
        tail = _cut_words(text[::-1], room)[::-1]
    return (head + _GAP + tail).strip()


def _whole(sentences: list[str], room: int) -> list[str]:
    """As many whole sentences from the front of the list as have room."""
    taken: list[str] = []
    for sentence in sentences:
        room -= len(sentence) + 1
        if room < 0:
            break
        taken.append(sentence)
    return taken


def _cut_words(text: str, room: int) -> str:
    cut = text[:room]
    return cut.rpartition(" ")[0] or cut


def _whole_characters(raw: bytes) -> bytes:
    """Without the beginning of a character at the end, if there is one."""
    decoder = codecs.getincrementaldecoder("utf-8")("ignore")
    decoder.decode(raw)
    return raw.removesuffix(decoder.getstate()[0])


def _whole_tokens(pieces: Sequence[bytes], raw: bytes) -> tuple[int, int]:
    """Return how many tokens, and bytes of them, can stay so that no character is cut."""
    n_tokens = n_bytes = at = 0
    for n, piece in enumerate(pieces, 1):
        at += len(piece)
        if at > len(raw) or n_bytes == len(raw):
            break
        if at == len(raw) or raw[at] & 0xC0 != 0x80:  # not within a character
            n_tokens, n_bytes = n, at
    return n_tokens, n_bytes
