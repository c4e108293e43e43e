"""What of a text can be seen. It knows no language and no limit."""

import re

__all__ = ["is_visible"]

# What shows something: no blank, no control or format character, none of Unicode's fillers
# (Default_Ignorable_Code_Point) nor the empty Braille cell.
_VISIBLE = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0"
    r"\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def is_visible(text: str) -> bool:
    """Say whether anything of a text shows."""
    return _VISIBLE.search(text) is not None
