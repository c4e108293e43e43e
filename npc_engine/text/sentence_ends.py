"""What ends a sentence in which script, as Unicode has it and as people write it.

Owns the table of Unicode's property Sentence_Terminal (version 18.0) and what it lacks. It knows no
lines: `punctuation` makes classes of it.

The table is what the package regex matches with \\p{Sentence_Terminal}, as hexadecimal ranges. A
table and no library: unicodedata does not have the property, and regex and uniseg, which do, take
4 and 11 MB and see whole texts only.
"""

import unicodedata

__all__ = ["BY_SCRIPT", "SPACED", "TERMINALS", "is_of_script"]

_TABLE = """
21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E
1735-1736 17D4-17D5 1803 1809 1944-1945 1AA8-1AAB 1B4E-1B4F 1B5A-1B5B 1B5E-1B5F 1B7D-1B7F
1C3B-1C3C 1C7E-1C7F 2024 203C-203D 2047-2049 2CF9-2CFB 2E2E 2E3C 2E53-2E54 2E60-2E61 3002 A4FF
A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB FE12 FE15-FE16
FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59 10F86-10F89 11047-11048 110BE-110C1
11141-11143 111C5-111C6 111CD 111DE-111DF 11238-11239 1123B-1123C 112A9 113D4-113D5 1144B-1144C
115C2-115C3 115C9-115D7 11641-11642 1173C-1173E 11944 11946 11A42-11A43 11A9B-11A9C 11C41-11C42
11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5 16B37-16B38 16B44 16D6E-16D6F 16E98 1BC9F 1DA88
"""


def _characters(table: str) -> str:
    bounds = [[int(code, 16) for code in entry.split("-")] for entry in table.split()]
    return "".join(chr(code) for b in bounds for code in range(b[0], b[-1] + 1))


_BURMESE_COMMA = "\u104a"  # has the property, and ends a clause
_TIBETAN = "\u0f0d\u0f0e\u0f0f\u0f10\u0f11\u0f12"  # has it not, and has nothing else
# Neither have these: Hebrew, Sinhala, Thai, Khmer, Coptic.
_OTHERS = "\u05c3\u0df4\u0e5a\u0e5b\u17da\u2cfe"
TERMINALS = _characters(_TABLE).replace(_BURMESE_COMMA, "") + "\u2026" + _TIBETAN + _OTHERS

# They end a sentence only with a space behind them: they stand within numbers, initials, times.
SPACED = (
    ".!?\u2026\u2024\u203c\u203d\u2047\u2048\u2049\u0589\u06d4\u2e2e\u2e3c\u2e53\u2e54" + _TIBETAN
)

# Marks of other uses that end a sentence in some scripts, and with a space behind.
BY_SCRIPT = {
    ";": ("GREEK",),
    "\u037e": ("GREEK",),  # the same as ";" in every form of Unicode
    ":": ("ARMENIAN",),
    "|": ("DEVANAGARI", "BENGALI", "GURMUKHI", "ORIYA"),
}


def is_of_script(mark: str, head: str) -> bool:
    """Tell whether `mark`, one of BY_SCRIPT, ends a sentence: by the letters of `head`.

    One of the script is enough: the last word may be a name in another one.
    """
    scripts = BY_SCRIPT[mark]
    if mark == ":" and head.endswith(":"):  # two for two Ethiopic word spaces
        scripts += ("ETHIOPIC",)
    return any(unicodedata.name(c, "").startswith(scripts) for c in head if c.isalpha())
