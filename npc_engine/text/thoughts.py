"""How models write what they think before they answer.

Owns the marks around thoughts: those of published models, and those that a vocabulary or a chat
template has beside them. It knows text only.

    <think>The guest wants gold.</think>Hello.                             a pair
    Here are my reasoning steps: ... [BEGIN FINAL RESPONSE]Hello.          words that open a reply
    <|channel|>analysis<|message|>...<|end|><|start|>assistant
        <|channel|>final<|message|>Hello.                                  channels, gpt-oss
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = [
    "BETWEEN",
    "CHANNEL",
    "KNOWN",
    "MESSAGE",
    "MESSAGES",
    "SPOKEN_CHANNEL",
    "START",
    "TURN_ENDS",
    "WORDS",
    "WRAPPERS",
    "Thoughts",
    "is_like",
    "is_spoken",
    "open_thought",
    "thoughts_of",
    "without_thoughts",
]

CHANNEL, MESSAGE, START = "<|channel|>", "<|message|>", "<|start|>"
TURN_ENDS = ("<|end|>", "<|return|>", "<|call|>")
BETWEEN = (START, "<|begin|>", "<|end|>")
"""What stands between messages."""
MESSAGES = (CHANNEL, "<|think|>")
"""What opens a thought that is a message of its own."""
SPOKEN_CHANNEL = f"<|end|>{START}assistant{CHANNEL}final{MESSAGE}"
"""What closes an unspoken channel and opens the spoken one."""

WORDS = {
    "Here are my reasoning steps:": "[BEGIN FINAL RESPONSE]",  # Apriel
    "Here is my thought process:": "Here is my response:",  # Granite
}
"""Words that open a thought where a reply begins with them, and what closes it."""

WRAPPERS = (
    *("<answer>", "</answer>", "<response>", "</response>", "[END FINAL RESPONSE]"),
    *("<|begin_of_solution|>", "<|end_of_solution|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"),
)
"""What some write around their answer: never spoken."""

_NAMES = (
    *("think", "thinking", "thought", "thoughts", "reason", "reasoning", "seed:think"),
    *("analysis", "reflection", "scratchpad", "monologue", "inner_monologue", "internal_monologue"),
    *("inner_thoughts", "thought_process", "chain_of_thought", "cot", "contemplation", "mm:think"),
)
_OTHERS = (
    ("[THINK]", "[/THINK]"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    ("<|think|>", "<|content|>"),
    ("<|channel>", "<channel|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|thinking|>", "<|/thinking|>"),
    ("<unused94>", "<unused95>"),  # MedGemma
)
# Marks that speak of thinking, of whatever make. `/no_think` is a switch, a budget a remark.
_LIKE = re.compile(
    r"think|thought|reason|ponder|reflect|scratch|monolog|contemplat|deliberat|ruminat|musing|draft"
    r"|brainstorm|introspect|internal|rationale|(?<![a-z])mind(?![a-z])"
    r"|(?<![a-z])inner|(?<![a-z])cot(?![a-z])|(?<![a-z])plan(?:ning)?(?![a-z])",
    re.IGNORECASE,
)
_NOT_LIKE = re.compile(r"no_?think|budget|effort|(?<![a-z])off(?![a-z])", re.IGNORECASE)
_CLOSES = re.compile(r"/|(?<![a-z])(?:end|stop|close|suffix)|end(?![a-z])", re.IGNORECASE)
_TAG = re.compile(r"<\|?/?[\w:|]{2,40}\|?>|\[/?[A-Z_]{4,40}\]|\u25c1[^\u25b7\s]{2,40}\u25b7")


def _spellings() -> Iterator[tuple[str, str]]:
    for name in _NAMES:
        for spelling in dict.fromkeys((name, name.upper(), name.capitalize())):
            yield f"<{spelling}>", f"</{spelling}>"


@dataclass(frozen=True)
class Thoughts:
    """Marks around thoughts: `pairs` from what opens one to what closes it.

    `unknown`: those of them that are no published model's.
    """

    pairs: dict[str, str]
    unknown: tuple[str, ...] = ()

    @property
    def closings(self) -> tuple[str, ...]:
        """What closes a thought."""
        orphans = (text for text in self.unknown if text not in self.pairs)
        return tuple(dict.fromkeys([*self.pairs.values(), *WORDS.values(), *orphans]))

    @property
    def marks(self) -> frozenset[str]:
        """All of them, channels and what stands around answers included."""
        return frozenset((*self.pairs, *self.closings, *WRAPPERS, CHANNEL, MESSAGE))

    def closing(self, opening: str) -> str:
        """Return what is to be said so that a thought is over."""
        if opening == CHANNEL:
            return SPOKEN_CHANNEL
        return f"\n{(self.pairs | WORDS)[opening]}\n\n"


KNOWN = Thoughts({**dict(_spellings()), **dict(_OTHERS)})


def thoughts_of(special: Iterable[str], template: str) -> Thoughts:
    """Return the marks that a model may use.

    `special`: the texts of its vocabulary's markup; `template`: its chat template.
    """
    known = KNOWN.marks
    seen = list(dict.fromkeys([*special, *_TAG.findall(template)]))
    found = [text for text in seen if text not in known and is_like(text)]
    closings = [text for text in found if _CLOSES.search(text)]
    pairs = {text: _partner(text, closings) for text in found if text not in closings}
    # A known mark may be closed by another one than usual.
    for text in seen:
        if text in KNOWN.pairs and KNOWN.pairs[text] not in seen:
            partner = _partner(text, closings)
            pairs[text] = partner if partner in closings else KNOWN.pairs[text]
    return Thoughts(KNOWN.pairs | pairs, tuple(found))


def is_like(text: str) -> bool:
    """Whether a text speaks of thinking."""
    return bool(_LIKE.search(text)) and not _NOT_LIKE.search(text)


def _partner(opening: str, closings: Iterable[str]) -> str:
    """Return the closing mark with the most letters in common at its end; one made up else."""
    bare = re.sub(r"\W|(?:begin|start|open|prefix)(?:_?of)?|_", "", opening, flags=re.IGNORECASE)
    for closing in closings:
        if bare.lower() in re.sub(r"[\W_]", "", closing).lower():
            return closing
    return opening[0] + "/" + opening[1:]


def open_thought(text: str, thoughts: Thoughts) -> str | None:
    """Return the mark with which a thought is open at the end of a text, None when none is."""
    text = text.rstrip()
    _, channel, header = text.rpartition(CHANNEL)
    if channel and header.endswith(MESSAGE):
        return None if is_spoken(channel + header.removesuffix(MESSAGE)) else CHANNEL
    rest = without_thoughts(text, thoughts)
    opened = ((rest.rfind(mark), mark) for mark in thoughts.pairs)
    at, mark = max(opened, default=(-1, ""))
    return mark if at >= 0 else next((mark for mark in WORDS if text.endswith(mark)), None)


def without_thoughts(text: str, thoughts: Thoughts) -> str:
    """Return a text without the thoughts in it that are closed."""
    for opening, closing in thoughts.pairs.items():
        text = re.sub(f"{re.escape(opening)}.*?{re.escape(closing)}", "", text, flags=re.DOTALL)
    return text


def is_spoken(header: str) -> bool | None:
    """Whether what follows a message's header is the answer; None: it is another one's turn.

    `header`: what stands between `<|start|>` and `<|message|>`, as `assistant<|channel|>final`.
    """
    role, bar, channel = header.partition(CHANNEL)
    if role.split()[:1] not in ([], ["assistant"]):
        return None
    return channel.strip().startswith("final") if bar else True
