"""Character cards, V1, V2 and V3: a map or a file to a Card, and a Card to a persona.

Owns which fields a card has and the text a character is told about itself. Knows no model, no chat
template and no wire message; nor a file's format, a field's limits or how a macro is filled in.

A card is data from strangers (players swap them), so whatever is wrong with one ends as a
CardError that names the field or file and says what to do; nothing else is ever raised.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from npc_engine.cards.fields import (
    checked_list,
    checked_name,
    checked_rest,
    checked_text,
    cleaned,
    one_line,
    plain,
    within_limit,
)
from npc_engine.cards.files import read_card_file, write_card_file
from npc_engine.cards.macros import fill_macros, fill_original
from npc_engine.cards.shapes import (
    HEAD,
    LIST_FIELDS,
    TEXT_FIELDS,
    ill_typed,
    is_own_value,
    meant,
    misspelt,
    read_shape,
    unused,
)
from npc_engine.errors import CardError
from npc_engine.protocol.validation import describe

__all__ = ["DEFAULT_RULES", "LIST_FIELDS", "TEXT_FIELDS", "Card"]

DEFAULT_RULES = (
    "You are {{char}}, talking face to face with {{user}}. Stay in character. "
    "Say what {{char}} would say aloud, in one to three short sentences. "
    "Talk only of what {{char}} knows."
)

MAX_NOTICES = 8  # of a card; how many more there are is said

# Required by the V3 specification, of no meaning to a persona.
V3_DEFAULTS: Mapping[str, Any] = {
    "creator": "",
    "character_version": "",
    "creator_notes": "",
    "group_only_greetings": [],
    "extensions": {},
}


@dataclass(frozen=True)
class Card:
    """One character, as its author wrote it.

    Texts are cleaned (no control characters but newline and tab, no lone surrogates, `\\n` line
    ends) and otherwise raw: macros are filled in by `persona`, `greeting` and `examples`.
    `extra` holds every field that this engine does not interpret (`extensions`, `creator_notes`,
    `character_book`, ...) and `envelope` every key that stood beside `data`; both survive `to_map`.

    Raises CardError when a field is ill-typed or over its limit.
    """

    name: str
    nickname: str = ""
    description: str = ""
    personality: str = ""
    scenario: str = ""
    first_mes: str = ""
    mes_example: str = ""
    system_prompt: str = ""
    post_history_instructions: str = ""
    alternate_greetings: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    envelope: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for key in TEXT_FIELDS:
            self._set(key, checked_text(key, getattr(self, key)))
        for key in LIST_FIELDS:
            self._set(key, checked_list(key, getattr(self, key)))
        for key in ("name", "nickname"):
            self._set(key, checked_name(key, getattr(self, key)))
        self._set("extra", checked_rest("extra", self.extra, self._hidden()))
        self._set("envelope", checked_rest("envelope", self.envelope, HEAD))
        if not self.name:
            raise _no_name(self.extra)

    def _hidden(self) -> tuple[str, ...]:
        """The fields that `extra` must not hide. What is no value of one may stay there."""
        keys = TEXT_FIELDS + LIST_FIELDS
        return tuple(k for k in keys if k in self.extra and is_own_value(k, self.extra[k]))

    def _set(self, key: str, value: object) -> None:
        object.__setattr__(self, key, value)  # the one way to normalise a frozen field

    @classmethod
    def from_map(cls, data: Mapping[str, object]) -> Self:
        """Return the card in `data`: V2/V3 `{spec, data}`, flat V1, or `{name, description, ...}`.

        A field that is null counts as absent; `shapes` says what else is understood.
        Raises CardError.
        """
        if not isinstance(data, Mapping):
            found = f"A card must be a map of fields, and this is {describe(data)}."
            raise CardError(found, "Send {'name': ..., 'description': ...} or a whole card.")
        fields, extra, envelope = read_shape(data)
        return cls(**{"name": ""} | fields, extra=extra, envelope=envelope)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the card in a .json, .toml or .png file. Raises CardError, naming the file."""
        path = Path(path)
        try:
            card = cls.from_map(read_card_file(path))
            if path.suffix.lower() == ".toml":
                _check_spelling(card.extra)
            return card
        except CardError as error:
            raise CardError(f"{str(path)!r}: {error.message}", error.help) from error

    def to_map(self) -> dict[str, Any]:
        """Return a whole V3 card, `{spec, spec_version, data, ...}`, that shares nothing with this.

        Fields that this engine does not interpret are in it as they came.
        """
        fields: dict[str, Any] = {key: getattr(self, key) for key in TEXT_FIELDS}
        fields |= {key: list(getattr(self, key)) for key in LIST_FIELDS}
        if not self.nickname:
            del fields["nickname"]  # optional in V3, where an empty one would be used as the name
        data = plain("extra", fields | dict(V3_DEFAULTS) | dict(self.extra))
        head = {"spec": "chara_card_v3", "spec_version": "3.0", "data": data}
        return head | dict(plain("envelope", self.envelope))

    @cached_property
    def saved(self) -> dict[str, Any]:
        """What `to_map` returns, made once: not to be changed."""
        return self.to_map()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `to_map` as a .json file. Raises CardError."""
        write_card_file(Path(path), self.to_map())

    @property
    def notices(self) -> list[str]:
        """What its author should know: keys that look like a field, and mean nothing."""
        fields = {key: getattr(self, key) for key in TEXT_FIELDS + LIST_FIELDS}
        found = [
            *(f"{key!r} is no field of a card: did you mean {field!r}?"
              for key, field in meant(self.extra).items() if not fields[field]),
            *(f"{key!r} is {describe(self.extra[key])}, and not used: write {field!r} as text."
              for key, field in ill_typed(fields, self.extra).items()),
            *(f"{key!r} is not used, since the card has a {field!r}."
              for key, field in unused(fields, self.extra).items()),
        ]  # fmt: skip
        more = [f"And {len(found) - MAX_NOTICES} more."] if len(found) > MAX_NOTICES else []
        return found[:MAX_NOTICES] + more

    @property
    def char(self) -> str:
        """The name others call it by: what `{{char}}` becomes (V3: the nickname, if it has one)."""
        return self.nickname or self.name

    def persona(self, *, user: str = "Player", rules: str = DEFAULT_RULES) -> str:
        """Return the text that tells a model who it is; the same text at every call.

        `user` is whom it talks to. `rules` opens the text, unless the card has a `system_prompt`,
        where it stands for `{{original}}`. Raises CardError when the result is over 64 KiB.
        """
        opening = fill_original(self.system_prompt, cleaned(rules)).strip() or cleaned(rules)
        reminder = fill_original(self.post_history_instructions, "")
        sections = [
            ("", self._filled("system_prompt", opening, user)),
            ("", self._filled("description", self.description, user)),
            ("Personality: ", self._filled("personality", self.personality, user)),
            ("Scenario: ", self._filled("scenario", self.scenario, user)),
            (f"How {self.char} talks:\n", _transcript(self.examples(user=user))),
            ("Remember: ", self._filled("post_history_instructions", reminder, user)),
        ]
        text = "\n\n".join(title + body for title, body in sections if body)
        return within_limit("persona", text)

    def greeting(self, *, user: str = "Player") -> str:
        """Return the character's first line, or an empty text when the card has none."""
        return self._filled("first_mes", self.first_mes, user)

    def examples(self, *, user: str = "Player") -> list[list[tuple[str, str]]]:
        """Return the example talks, each a list of (speaker, text).

        Talks are parted by `<START>`. A line with no `name:` belongs to the one before it, or, at
        the start of a talk, to nobody (speaker is empty).
        """
        text = self._filled("mes_example", self.mes_example, user)
        names = {self.name: self.char, self.char: self.char, one_line(user): one_line(user)}
        talks = (_spoken_lines(block, names) for block in re.split("(?i)<START>", text))
        return [talk for talk in talks if talk]

    def _filled(self, key: str, text: str, user: str) -> str:
        filled = fill_macros(text, self.char, one_line(user), f"{self.name}\0{key}")
        return within_limit(key, filled.strip())


def _spoken_lines(block: str, names: Mapping[str, str]) -> list[tuple[str, str]]:
    talk: list[tuple[str, str]] = []
    for line in block.strip().splitlines():
        head, colon, rest = line.partition(":")
        speaker = names.get(head.strip()) if colon else None
        if speaker is not None:
            talk.append((speaker, rest.strip()))
        elif talk:
            talk[-1] = (talk[-1][0], f"{talk[-1][1]}\n{line.strip()}".strip())
        else:
            talk.append(("", line.strip()))
    return talk


def _transcript(talks: list[list[tuple[str, str]]]) -> str:
    lines = (f"{speaker}: {text}" if speaker else text for talk in talks for speaker, text in talk)
    return "\n".join(lines)


def _no_name(extra: Mapping[str, Any]) -> CardError:
    near = next((key for key, field in meant(extra).items() if field == "name"), None)
    if near is None:
        return CardError("The card has no name.", "Give it one: name = 'Mara'.")
    return CardError(f"The card has no name, but {near!r}.", "Did you mean 'name'?")


def _check_spelling(extra: Mapping[str, Any]) -> None:
    """Refuse a key that is nearly a field's: people write TOML by hand, and programs the rest."""
    for key, near in misspelt(extra).items():
        raise CardError(f"There is no field {key!r}.", f"Did you mean {near!r}?")
