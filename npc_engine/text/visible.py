"""What of a text can be seen, and may be: strangers' texts cannot steer a terminal.

It knows no language and no limit.
"""

import re

__all__ = ["IGNORABLE", "is_visible", "on_one_row", "plain"]

# In a character class: Unicode's fillers (Default_Ignorable_Code_Point) and the empty Braille cell.
IGNORABLE = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# What shows something: none of these, no blank, no control character.
_VISIBLE = re.compile(rf"[^\s\x00-\x1f\x7f-\x9f\ud800-\udfff{IGNORABLE}]")


def is_visible(text: str) -> bool:
    """Say whether anything of a text shows."""
    return _VISIBLE.search(text) is not None


def plain(text: str, instead: str = "\ufffd") -> str:
    """Return a text without what could move a terminal's cursor or turn its letters round."""
    return "".join(c if c.isprintable() else instead for c in text)


def on_one_row(text: str) -> str:
    """Return a text on one row, its blanks as one each, without what could steer a terminal."""
    return " ".join(plain(text, " ").split())
