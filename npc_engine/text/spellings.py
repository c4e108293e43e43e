"""A name as it is compared with what stands in a text.

Owns what makes no difference between two spellings of one name, and which parts of a name are
names themselves. It knows no rows and no speakers: `labels` looks for names.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

__all__ = ["CLOSES", "MIRROR", "OPENS", "folded", "forms"]

OPENS, CLOSES = "*_\"'«»‘「『[<(【{`~《〔", "*_\"'»«'」』]>)】}`~》〕"  # noqa: RUF001
MIRROR = str.maketrans(OPENS, CLOSES)
"""What may stand around a name, and what closes it."""
_MAX_NAME = 100
# What one writes in more than one way.
_SAME = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u02bc", "'"),
        **dict.fromkeys("\u201c\u201d\u201e", '"'),
        **dict.fromkeys("\u2010\u2011", "-"),
        **dict.fromkeys("\u2236\ua789", ":"),
        "\u0131": "i",
    }
)
# Accents, Hebrew and Arabic points, the looks of an emoji.
_ACCENT = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\ufe00-\ufe0f]")
# Words of a name that are no name by themselves.
_NO_NAMES = frozenset(
    (
        *("the", "a", "an", "of", "der", "die", "das", "le", "la", "les", "el", "los", "il", "lo"),
        *("old", "young", "big", "little", "mr", "mrs", "ms", "sir", "lady", "lord", "captain"),
        *("doctor", "master", "mistress", "king", "queen", "prince", "princess", "father"),
        *("mother", "brother", "sister", "uncle", "aunt"),
    )
)


@lru_cache(4096)
def folded(char: str) -> str:
    """Return a character as it is compared: none, one or several."""
    if char.isspace() and char != "\n":
        return " "
    alike = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())
    seen = "".join(c for c in alike if unicodedata.category(c) != "Cf")
    return _ACCENT.sub("", seen).translate(_SAME)


@lru_cache(1024)
def forms(name: str) -> frozenset[str]:
    """Return a name as it is looked for, and the words of it that are names themselves."""
    whole = " ".join("".join(map(folded, name)).split())
    bare = whole.lstrip(OPENS)
    bare = bare.removesuffix(whole[: len(whole) - len(bare)][::-1].translate(MIRROR))
    found = {bare, *_words_of(bare)} if len(bare) <= _MAX_NAME else set()
    found |= {form.replace(".", "") for form in found}
    found |= {form.replace(" ", join) for form in found for join in ("_", "-", "")}
    return frozenset(form for form in found if form.strip(" _-."))


def _words_of(name: str) -> Iterator[str]:
    """Yield the first and the last word of what stands before a comma, " the " or " of ", both of
    them, and a nickname in quotes.
    """
    words = re.split(r"[,:]| the | of | \(", name.removeprefix("the "))[0].strip()
    yield words
    yield from re.findall(r'"([^"]+)"', name)
    parts = [part.strip(OPENS + CLOSES) for part in re.split(r"[ \u00b7\u30fb/&_]+", words)]
    yield f"{parts[0]} {parts[-1]}"
    for part in (parts[0], parts[-1]):
        if len(part) > 1 and part not in _NO_NAMES and not part.endswith("."):
            yield part
