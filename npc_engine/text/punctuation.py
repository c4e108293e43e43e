"""What the marks of writing mean: ends, closers, quotes, abbreviations.

Owns the character classes and word lists, and the cleaning of one line that is known whole.
Knows no streams: where a line ends when only its beginning is there, `sentences` decides.
"""

import re
import unicodedata

from npc_engine.text.sentence_ends import BY_SCRIPT, SPACED, TERMINALS
from npc_engine.text.visible import IGNORABLE

__all__ = [
    "ELLIPSIS",
    "ENDERS",
    "END_RUN",
    "FIRSTS",
    "LATE_RUN",
    "MARKS",
    "MAX_RUN",
    "PAUSE",
    "SPACES",
    "THAI",
    "THAI_WORD",
    "UNSEEN",
    "UNSPACED",
    "WORD",
    "WORD_SPACE",
    "clean",
    "ends_surely",
    "goes_on",
    "join",
    "skip",
    "unquote",
]

MAX_RUN = 64  # characters of punctuation that are looked at as one

ENDERS = TERMINALS
# Ethiopic: between words, and twice at the end of a sentence.
WORD_SPACE = "\u1361"
_TWO_SHADS = "\u0f0d \u0f0d"  # Tibetan: the second stands before the next sentence
# What may end a sentence, in a character class.
FIRSTS = ENDERS + "".join(BY_SCRIPT) + WORD_SPACE
# In a character class. The late ones close even behind a space, as in French.
_LATE_CLOSERS = r"”’״»›)}\]」』）】》"  # noqa: RUF001
_CLOSERS = r"\"'“«‹" + _LATE_CLOSERS  # noqa: RUF001
_PUNCTUATION = r"\s!-/:-@\[-`{-~¡¿«»‹›‘’“”„‐-―、，；：·・（）〈-】"  # noqa: RUF001
_PUNCTUATION += r"\u037e\u060c\u061b\u104a\u1361-\u1366" + ENDERS

# What of IGNORABLE may go at the ends of a text: marks of direction (Arabic and Hebrew have them
# behind full stops), and of where a word may break. Not the looks of an emoji.
UNSEEN = "".join(
    map(chr, (0xAD, 0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A)))
)
UNSEEN += "\u3164\ufeff"

# What is worth saying alone: letters, digits, emoji.
WORD = re.compile(rf"[^{_PUNCTUATION}{IGNORABLE}]")
# An end of a sentence with all that closes after it; then the same behind a space.
END_RUN = re.compile(
    rf"(?:{_TWO_SHADS}|[{FIRSTS}]{WORD_SPACE}?)[{ENDERS}{_CLOSERS}{UNSEEN}]{{0,{MAX_RUN - 2}}}"
)
LATE_RUN = re.compile(rf"[{ENDERS}{_LATE_CLOSERS}]{{0,{MAX_RUN}}}")
# One that needs no space behind it.
_SURE_END = re.compile(f"[{''.join(set(ENDERS) - set(SPACED))}]|{WORD_SPACE}{{2}}|{_TWO_SHADS}")
_CRIES = "!?\u203c\u203d\u2047\u2048\u2049"
_WIDE_STOPS = "\uff0e\ufe52"
ELLIPSIS = re.compile(r"\.\.|…")
MARKS = re.compile(r"[*_]{0,8}")
SPACES = re.compile(r"[^\S\n]*")
# Where a sentence that is too long may be cut.
PAUSE = re.compile(r"[,;:—–](?=\s)|\s[-–—](?=\s)|[、，；：\u060c\u061b\u104a\u1363-\u1366]")  # noqa: RUF001
# Letters of scripts that put no spaces between words (CJK, Thai, Lao, Tibetan, Burmese, Khmer).
UNSPACED = re.compile(
    r"[\u2e80-\u9fff\uf900-\ufaff\uff66-\uff9f\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\U00020000-\U0003ffff]"
)
# Thai and Lao: behind which a space may end a sentence, as nothing else does; and what then begins.
THAI = r"\u0e01-\u0e5b\u0e81-\u0edf"
THAI_WORD = re.compile(r"[\u0e01-\u0e2e\u0e40-\u0e44\u0e81-\u0eae\u0ec0-\u0ec4\u0edc-\u0edf]")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7a3]")

_STRAY_COMMA = re.compile(r"^(?:[,;:](?=\s)|[、，；：])\s*")  # noqa: RUF001
_EDGE_UNDERSCORE = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_NEVER_LAST = _words(
    "Mr Mrs Ms Mx Dr St Prof Capt Cpt Sgt Lt Col Gen Cmdr Rev Hon Mt Messrs Sr Sra Srta Dra "
    "Mme Mlle MM Hr Fr Frl vs e.g i.e cf bzw z.B d.h u.a o.g sog p.ej z d Sig Dott Dhr Mevr ul "
    "\u0442 \u0442.\u0435 \u0422.\u0435"
)
_LAST_UNLESS_SMALL_FOLLOWS = _words(
    "h \u0434 \u043f \u0442.\u0434 \u0442.\u043f Ph.D etc usw Jr Ud Uds Vd Vds Co Inc Ltd approx ca"
)
# "No." is an answer far more often than an abbreviation.
_LAST_UNLESS_NUMBER_FOLLOWS = _words("No no Nr nr Nos Bd Vol vol Art Fig fig p pp S n núm Núm Kap")
_INITIALISM = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")

_CLOSES = {'"': '"', "״": "״", "“": "”", "„": "“”", "«": "»", "»": "«", "「": "」", "『": "』"}
_OPENS = {'"': '"', "״": "״", "”": "“„", "“": "„", "»": "«", "«": "»", "」": "「", "』": "『"}
_SINGLE = {"'": "'", "‘": "’"}  # noqa: RUF001
_GLUED = re.compile(r"[\"'“„‘«»‹›「『（(\[¿¡]$")  # noqa: RUF001


_CLOSED = re.compile(rf"[{_CLOSERS}]\Z")


def skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return where `pattern`, matched at `at`, ends; `at` if it does not match."""
    match = pattern.match(text, at)
    return match.end() if match else at


def clean(source: str) -> str:
    """Return `source` without marks and without a comma that a gesture left behind at the start.

    White space becomes single spaces. Underscores within words stay.
    """
    text = source.replace("*", "")
    if "_" in text:
        text = _EDGE_UNDERSCORE.sub("", text)
    return _STRAY_COMMA.sub("", " ".join(text.split()))


def unquote(line: str) -> str:
    """Remove quotation marks around the whole line, and one whose partner is in another line."""
    first, last, inner = line[0], line[-1], line[1:-1]
    if _SINGLE.get(first) == last:  # a single one at one end alone may be an apostrophe
        return line if last in inner else inner
    closing, opening = _CLOSES.get(first, ""), _OPENS.get(last, "")
    if closing and not any(mark in inner for mark in closing):
        return inner if last in closing else line[1:]
    if opening and not any(mark in line[:-1] for mark in opening):
        return line[:-1]
    return line


def join(carried: str, line: str) -> str:
    """Put a row of punctuation before the next `line` if it opens it, else leave it out."""
    if _GLUED.search(carried):
        return carried + line
    return f"{carried} {line}" if ELLIPSIS.search(carried) else line


def ends_surely(head: str, run: str, follower: str) -> bool:
    """Tell whether `run`, an END_RUN, ends a sentence without a space behind it.

    `head`: the sentence so far. `follower`: the first character behind the run.
    """
    before = head[-1:]
    if run in _WIDE_STOPS and _is_latin(before):  # a number, an abbreviation
        return not (_is_latin(follower) or clean(head).isdigit())
    if _SURE_END.search(run):
        return True
    if ELLIPSIS.search(run) or run[0] not in f".{_CRIES}":
        return False
    script = _CJK if run[0] == "." else UNSPACED  # Thai has full stops in its abbreviations
    return bool(script.match(before) and script.match(follower))


def _is_latin(char: str) -> bool:
    plain = unicodedata.normalize("NFKC", char)
    return plain.isascii() and plain.isalnum()


def goes_on(head: str, run: str, follower: str) -> bool:
    """Tell whether `run`, an END_RUN with a space behind it, is not the end of the sentence.

    `head`: the sentence so far. `follower`: the first character behind the space.
    """
    run = run.rstrip(UNSEEN)
    if _CLOSED.search(run) or ELLIPSIS.search(run):
        return follower.islower()
    if run != ".":
        return False
    words = head[-12:].split()  # longer than any abbreviation
    word = words[-1].strip("*_\"'(“„«¿¡") if words else ""
    if word.isdigit() and clean(head) == word:
        return True
    return _is_abbreviation(word, follower)


def _is_abbreviation(word: str, follower: str) -> bool:
    if word in _NEVER_LAST or (len(word) == 1 and word.isupper() and word != "I"):
        return True
    if word in _LAST_UNLESS_NUMBER_FOLLOWS:
        return follower.isdigit()
    if word in _LAST_UNLESS_SMALL_FOLLOWS or _INITIALISM.fullmatch(word):
        return follower.islower() or follower.isdigit()
    return False
