"""Cards for the tests: one with every field, strange values, and files to put them in."""

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from npc_engine.cards.card import LIST_FIELDS, TEXT_FIELDS

CANARY = "the-butler-did-it"
FULL: dict[str, Any] = {
    "name": "Mara Venn",
    "nickname": "Mara",
    "description": "{{char}} keeps an inn.",
    "personality": "brisk",
    "scenario": "{{user}} comes in.",
    "first_mes": "Boots, {{user}}.",
    "mes_example": "<START>\n{{user}}: Hello?\n{{char}}: Mind the mat.",
    "system_prompt": "",
    "post_history_instructions": "Be kind.",
    "alternate_greetings": ["Again?"],
    "tags": ["inn"],
    "creator": CANARY,
    "creator_notes": CANARY,
    "character_version": CANARY,
    "character_book": {"entries": [{"keys": ["bell"], "content": CANARY}]},
    "extensions": {"my_game": {"portrait": CANARY, "layers": [1, 2.5, None, True]}},
    "source": [CANARY],
    "of_some_tool": CANARY,
}
V3 = {"spec": "chara_card_v3", "spec_version": "3.0", "data": FULL}
KNOWN = {*TEXT_FIELDS, *LIST_FIELDS}

texts = st.text(st.characters(), max_size=20)  # lone surrogates and controls included
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def write(folder: Path, name: str, raw: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    return path
