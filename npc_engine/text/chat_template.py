"""A model's chat template, probed once into the pieces that open and close each kind of segment.

It owns the way from the template's source to those pieces, so that the engine appends turns and
never renders a conversation again. It knows text only: no tokens, no llama.cpp, no KV cache.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from npc_engine.text.thoughts import (
    WORDS,
    Thoughts,
    is_like,
    open_thought,
    thoughts_of,
    without_thoughts,
)

if TYPE_CHECKING:
    from npc_engine.text.jinja.sandbox import ChatTemplate

__all__ = ["Pieces", "Text", "probe", "render"]

Turn = tuple[str, str]
Render = Callable[[list[dict[str, str]], bool], str]

_FOLD = "\n\n"  # between the persona and the first message where there is no system role
# Letters and digits alone: they pass through trimming, escaping and case-blind tests unharmed.
_PERSONA, *_WORDS = (f"zq7{name}7qz" for name in ("persona", "u1", "r1", "u2", "r2", "u3"))
_CHECK = (
    "Mara, 52.\nKeeps the *inn*: dry & wry.",
    "Good \u00e9vening.\n\nA room?",
    "Two coins, <i>",
)


class Text(NamedTuple):
    """One run of text for the tokenizer.

    `markup`: the template's own, to be tokenized with special tokens. Otherwise somebody's words,
    which must stay plain text: a player who types `<|im_end|>` must not end a turn.
    """

    text: str
    markup: bool


@dataclass(frozen=True)
class Pieces:
    """What stands around each kind of segment. Pairs are (before, after).

    Persona, messages and replies are to be stripped of white space at both ends by the caller:
    many templates do so themselves, and the pieces equal the template's rendering only then.

    BOS is in none of `system` and `bare`. Put it first once if the vocabulary says `add_bos`
    or `bos_in_template` is true.
    """

    system: tuple[str, str]
    """Around the persona. With `joined` the second one ends inside the first user turn."""
    joined: bool
    """The persona is part of the first user turn, which must not repeat `user[0]`."""
    bare: str
    """What stands before the words of the first user turn when there is no persona at all."""
    user: tuple[str, str]
    """Around a user turn."""
    reply: tuple[str, str]
    """Around a reply, as it stands in history."""
    reply_lead: str
    """White space of history between `reply[0]` and a reply. A model writes it itself."""
    reply_extra: str
    """What only the reply being generated has after `reply[0]`; to be evicted after it."""
    stop: tuple[str, ...]
    """Texts that end a reply, for models that spell them out instead of using the token."""
    bos_in_template: bool
    """The template itself writes BOS at the beginning."""
    notice: str | None = None
    """One sentence for the developer when this is not simply the model's own template."""

    def beginning(self, persona: str) -> tuple[list[Text], bool]:
        """Return the pinned beginning, and whether it leaves a user turn open.

        Where it does, the first turn starts without `user[0]`.
        """
        if persona:
            before, after = self.system
            return _texts((before, True), (persona, False), (after, True)), self.joined
        if self.bare.endswith(self.user[0]):
            return _texts((self.bare.removesuffix(self.user[0]), True)), False
        return _texts((self.bare, True)), True


def render(pieces: Pieces, persona: str, turns: Sequence[Turn], user: str | None) -> list[Text]:
    """Return a whole conversation: turns of (message, reply), then the message to be answered.

    With `user` it ends where the reply's first token goes, `reply_extra` included.
    """
    texts, is_open = pieces.beginning(persona)
    answer = (pieces.user[1] + pieces.reply[0], True)
    for message, reply in turns:
        texts += _texts(("" if is_open else pieces.user[0], True), (message, False), answer)
        texts += _texts((pieces.reply_lead, True), (reply, False), (pieces.reply[1], True))
        is_open = False
    if user is not None:
        texts += _texts(("" if is_open else pieces.user[0], True), (user, False), answer)
        texts += _texts((pieces.reply_extra, True))
    return texts


def probe(
    template: str | None,
    *,
    bos: str = "",
    eos: str = "",
    has: Callable[[str], bool] = lambda _token: True,
) -> Pieces:
    """Return the pieces of a chat template (`tokenizer.chat_template` of a GGUF).

    `bos`, `eos`: the texts of the vocabulary's tokens of that name, "" where it has none; `has`:
    whether a text is a token of its own. A model with no template, or one that cannot be cut into
    pieces, gets markup that its vocabulary has the tokens of, and a notice that says why; so this
    raises nothing, whatever a file holds. Thinking is off. Dates are fixed.
    """
    if not template or not template.strip():
        return _instead("The model has no chat template", has)
    from npc_engine.text.jinja.sandbox import (  # jinja2 is slow to import
        ChatTemplate,
        TemplateError,
    )

    try:
        pieces = _tried(ChatTemplate(template, bos=bos, eos=eos), bos, eos)
    except (TemplateError, _Unusable) as error:
        return _instead(f"The model's chat template cannot be used ({error})", has)
    return _answering_at_once(pieces, template)


def _tried(chat: "ChatTemplate", bos: str, eos: str) -> Pieces:
    """Render it in one way after the other, until that gives pieces. Raises the first failure."""
    from npc_engine.text.jinja.sandbox import N_TRIES, TemplateError

    why: list[_Unusable] = []
    for n_try in range(N_TRIES):

        def rendered(messages: list[dict[str, str]], generate: bool, n: int = n_try) -> str:
            try:
                return chat.render(messages, generate=generate, n_try=n)
            except TemplateError as error:
                raise _Unusable(str(error)) from error

        try:
            return _derive(rendered, bos, eos)
        except _Unusable as error:
            why.append(error)
    raise why[0]


def _instead(why: str, has: Callable[[str], bool]) -> Pieces:
    for name, tokens, pieces in _MARKUPS:
        if all(map(has, tokens)):
            return replace(pieces, notice=f"{why}; {name} is used.")
    raise AssertionError("plain text needs no tokens")


_CHATML = Pieces(
    system=("<|im_start|>system\n", "<|im_end|>\n"),
    joined=False,
    bare="<|im_start|>user\n",
    user=("<|im_start|>user\n", "<|im_end|>\n"),
    reply=("<|im_start|>assistant\n", "<|im_end|>\n"),
    reply_lead="",
    reply_extra="",
    stop=("<|im_end|>", "<|im_start|>user"),
    bos_in_template=False,
)
_LLAMA_3 = replace(
    _CHATML,
    system=("<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"),
    bare="<|start_header_id|>user<|end_header_id|>\n\n",
    user=("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
    reply=("<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
    stop=("<|eot_id|>",),
    bos_in_template=True,
)
_GEMMA = replace(
    _CHATML,
    system=("<start_of_turn>user\n", "\n\n"),
    joined=True,
    bare="<start_of_turn>user\n",
    user=("<start_of_turn>user\n", "<end_of_turn>\n"),
    reply=("<start_of_turn>model\n", "<end_of_turn>\n"),
    stop=("<end_of_turn>",),
    bos_in_template=True,
)
_PLAIN = replace(
    _CHATML,
    system=("", "\n\n"),
    bare="User: ",
    user=("User: ", "\n"),
    reply=("Assistant:", "\n"),
    reply_lead=" ",
    stop=("\nUser:", "\nAssistant:"),
)
_MARKUPS = (
    ("ChatML", ("<|im_start|>", "<|im_end|>"), _CHATML),
    ("Llama 3's", ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), _LLAMA_3),
    ("Gemma's", ("<start_of_turn>", "<end_of_turn>"), _GEMMA),
    ("plain text (its vocabulary has no markup that is known)", (), _PLAIN),
)


class _Unusable(ValueError):
    """The template refuses to render, or its rendering is no sequence of equal pieces."""


def _texts(*runs: tuple[str, bool]) -> list[Text]:
    return [Text(text, markup) for text, markup in runs if text]


def _chat(
    persona: str, turns: Sequence[Turn], user: str | None, *, fold: bool = False
) -> list[dict[str, str]]:
    said = [words for turn in turns for words in turn] + ([] if user is None else [user])
    if persona and fold:
        said[0] = persona + _FOLD + said[0]
    roles = ("user", "assistant") * len(said)
    chat = [{"role": role, "content": words} for role, words in zip(roles, said, strict=False)]
    system = [{"role": "system", "content": persona}] if persona and not fold else []
    return system + chat


def _derive(rendered: Render, bos: str, eos: str) -> Pieces:
    try:
        return _cut(rendered, bos, eos, fold=False)
    except _Unusable:  # no system role, or one that wanders through the conversation (Mistral)
        return _cut(rendered, bos, eos, fold=True)


def _cut(rendered: Render, bos: str, eos: str, *, fold: bool) -> Pieces:
    """Render a conversation of marks, cut it at them, and check the pieces on other words."""
    u1, r1, u2, r2, u3 = _WORDS
    whole = rendered(_chat(_PERSONA, [(u1, r1), (u2, r2)], u3, fold=fold), True)
    before, opening, answer, between, answer_2, between_2, last = _split(whole)
    if (answer, between) != (answer_2, between_2):
        raise _Unusable("it writes later turns in another way than earlier ones")
    asked = _chat(_PERSONA, [], u1, fold=fold)
    user_close = _closing(answer, [_tail(rendered, asked, u1, False)], eos)
    said = _chat(_PERSONA, [(u1, r1)], None, fold=fold)
    followed = _tail(rendered, said, r1, True).removesuffix(last.removeprefix(user_close))
    closing = _closing(between, [_tail(rendered, said, r1, False), followed], eos)
    user_open = between[len(closing) :] if closing else _opening(opening, between)
    closing = between.removesuffix(user_open) if user_open else between
    reply_open, lead, extra = _reply(answer, last)
    user_close = user_close if reply_open.startswith(user_close) else ""
    joined = fold or not opening.endswith(user_open)
    pieces = Pieces(
        system=(before.removeprefix(bos), opening if joined else _without(opening, user_open)),
        joined=joined,
        bare=_bare(rendered, u1, user_open).removeprefix(bos),
        user=(user_open, user_close),
        reply=(reply_open[len(user_close) :], closing),
        reply_lead=lead,
        reply_extra=extra,
        stop=_stops(closing, user_open, eos),
        bos_in_template=bool(bos) and before.startswith(bos),
    )
    if not _stops(*pieces.user, *pieces.reply):
        raise _Unusable("it writes nothing between messages")
    _check(pieces, rendered, bos, last, fold=fold)
    return pieces


def _split(whole: str) -> list[str]:
    """Cut at the marks, each of which must be there once and in its place."""
    parts = []
    for mark in (_PERSONA, *_WORDS):
        part, found, whole = whole.partition(mark)
        parts.append(part)
        if not found:
            raise _Unusable("it drops a message or moves one to another place")
    if any(mark in part for mark in (_PERSONA, *_WORDS) for part in (*parts, whole)):
        raise _Unusable("it repeats a message")
    return [*parts, whole]


def _tail(rendered: Render, chat: list[dict[str, str]], mark: str, generate: bool) -> str:
    try:
        return rendered(chat, generate).rpartition(mark)[2]
    except _Unusable:  # some want a conversation to end with a user turn
        return ""


def _closing(gap: str, tails: list[str], eos: str) -> str:
    """Return the part of gap, between two messages, that closes the first of them.

    `tails`: what the template writes after a last message. Phi-3 has EOS after all of it.
    """
    for tail in tails:
        for closing in (tail, tail.removesuffix(eos)):
            if closing and gap.startswith(closing):
                return closing
    return gap[: gap.find(eos) + len(eos)] if eos and eos in gap else ""


def _reply(answer: str, last: str) -> tuple[str, str, str]:
    """Return (opening, lead, extra) from what opens replies in history and in generation."""
    shared = _shared(answer, last)
    lead = answer[len(shared) :]
    if lead.strip():  # history says more than the prompt (gpt-oss: its channel): begin like history
        return answer, "", ""
    return shared, lead, last[len(shared) :]


def _opening(first: str, between: str) -> str:
    """Return the part of between that opens a user turn, as far as the first one tells."""
    same = _shared(first[::-1], between[::-1])[::-1]
    # A partly shared tag ("_end|><|user|>") belongs to what went before.
    return same if same == between else same[max(same.find("<"), 0) :]


def _shared(one: str, other: str) -> str:
    pairs = enumerate(zip(one, other, strict=False))
    return one[: next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))]


def _without(opening: str, user_open: str) -> str:
    return opening.removesuffix(user_open) if user_open else opening


def _bare(rendered: Render, mark: str, user_open: str) -> str:
    try:
        before, found, _ = rendered(_chat("", [], mark), True).partition(mark)
    except _Unusable:  # it insists on a system message
        return user_open
    return before if found else user_open


def _stops(*pieces: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(piece.strip() for piece in pieces if piece.strip()))


def _check(pieces: Pieces, rendered: Render, bos: str, last: str, *, fold: bool) -> None:
    """Compare with the template's own rendering of 0 to 3 turns of other words."""
    for persona, n_turns in _cases():
        turns = [(f"{_CHECK[1]} {n}", f"{_CHECK[2]} {n}") for n in range(n_turns)]
        try:
            own = rendered(_chat(persona, turns, "And then?", fold=fold), True).removeprefix(bos)
        except _Unusable:
            if persona:
                raise
            return  # it insists on a system message, as in `_bare`
        texts = render(replace(pieces, reply_extra=""), persona, turns, "And then?")
        mine = "".join(run.text for run in texts)
        if mine.removesuffix(pieces.user[1] + pieces.reply[0]) + last != own:
            raise _Unusable(f"its pieces differ from its rendering of {n_turns} turns")


def _cases() -> Iterator[tuple[str, int]]:
    return ((persona, n_turns) for persona in (_CHECK[0], "") for n_turns in range(4))


def _answering_at_once(pieces: Pieces, template: str) -> Pieces:
    """Close a thought that the template opens without a switch: a character answers at once."""
    thoughts = thoughts_of((), template)
    extra = pieces.reply_extra.rstrip()
    opening = open_thought(pieces.reply[0] + extra, thoughts)
    if opening:
        return _closed(pieces, thoughts.closing(opening))
    if not _is_words(extra, thoughts):
        return pieces
    closing = next((mark for mark in WORDS.values() if mark in template), None)
    if closing:
        return _closed(pieces, f"\n{closing}\n\n")
    notice = (
        f"The model's template opens replies with words ({extra[:60]!r}), as if it thought aloud; "
        "they are left out. If it thinks all the same, that is spoken."
    )
    return replace(pieces, reply_extra="", notice=notice)


def _closed(pieces: Pieces, closing: str) -> Pieces:
    notice = (
        "The model's template has no switch for thinking; an empty thought goes before replies."
    )
    return replace(pieces, reply_extra=f"{pieces.reply_extra.rstrip()}\n{closing}", notice=notice)


def _is_words(extra: str, thoughts: Thoughts) -> bool:
    """Whether there is more than closed thoughts, and markup that does not speak of thinking."""
    extra = without_thoughts(extra, thoughts)
    for mark in sorted(thoughts.marks, key=len, reverse=True):
        extra = extra.replace(mark, "")
    return is_like(extra) or bool(re.search(r"\w", re.sub(r"<[^<>]*>|\[[^][]*\]", "", extra)))
