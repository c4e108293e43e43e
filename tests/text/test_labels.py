"""What is a label is never spoken, what is none is; and that does not depend on how it comes."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npc_engine.text.labels import MAX_LABEL, Label, Labels

LABELS = Labels(["Mara", "Mara Ironwood"], ["Player", "Bram Stone", "Old Tom", "Sir Aldric"])
FULL_WIDTH = str.maketrans({c: c + 0xFEE0 for c in range(0x21, 0x7F)})


def label(text: str, labels: Labels = LABELS) -> tuple[Label, str]:
    """Return what `text` begins with, and what is left of it. Fed bit by bit, it is the same."""
    found, length = labels.look(text, 0, True)
    for n in range(1, len(text) + 1):
        early, length_then = labels.look(text[:n], 0, n == len(text))
        if early is not Label.UNDECIDED:
            assert (early, length_then) == (found, length), text[:n]
            break
    return found, text[length:]


FORMS = [
    *("{}:", "{} :", "{}\u00a0:", "*{}*:", "*{}:*", "**{}:**", "**{}**:", "***{}:***", "_{}_:"),
    *("__{}:__", '"{}":', "\u201c{}\u201d:", "\u00ab{}\u00bb:", "'{}':", "[{}]:", "<{}>:", "({}):"),
    *("**[{}]:**", "[**{}**]:", "{} (smiling):", "**{}** (smiling):", "**{} (smiling):**"),
    *("{} [sighs]:", "{} *smiles*:", "[{} (smiling)]:", "[{}]", "<{}>", "> {}:", "### {}:"),
    *("`{}`:", "{{{}}}:", "~{}~:", "\u300a{}\u300b\uff1a", "{} \u2192 Bram:", "{}>"),
    *("{}\uff1a", "\u3010{}\u3011", "\u300c{}\u300d\uff1a", "{}\u200e:", "**{}", '"{}'),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("name", "whose"),
    [
        *(("Mara", Label.OWN), ("mara", Label.OWN), ("MARA", Label.OWN), ("{{char}}", Label.OWN)),
        *(("Mara Ironwood", Label.OWN), ("Ironwood", Label.OWN), ("mara  ironwood", Label.NONE)),
        *(("Player", Label.OTHER), ("user", Label.OTHER), ("You", Label.OTHER)),
        *(("{{user}}", Label.OTHER), ("Bram", Label.OTHER), ("Tom", Label.OTHER)),
        *(("sir aldric", Label.OTHER), ("Aldric", Label.OTHER)),
    ],
)
def test_labels(form: str, name: str, whose: Label) -> None:
    colon = ":" if form in ("**{}", '"{}') else ""  # around the whole speech
    for text in (form.format(name) + colon, form.format(name.translate(FULL_WIDTH)) + colon):
        found, rest = label(text + " Sit down.")
        assert (found, rest) == (whose, " Sit down." if whose is not Label.NONE else rest)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Mara says: Sit.", " Sit."),
        ("Mara says softly: Sit.", " Sit."),
        ("**Mara** asks: Well?", " Well?"),
        ("[Mara] (smiling) Sit.", " (smiling) Sit."),
        ("Mara, smiling: Sit.", " Sit."),
        ("Mara said, looking at the door: Sit.", " Sit."),
        ("- Mara: Sit.", " Sit."),
        ("\u2014 **Mara**: Sit.", " Sit."),
        ("**Mara**\nSit.", "\nSit."),
        ("*Mara*\nSit.", "\nSit."),
        ("*Mara* Sit.", " Sit."),
        ('**Mara** "Sit."', ' "Sit."'),
        ("# Mara\nSit.", "\nSit."),
        ("assistant\nSit.", "\nSit."),
        ("### Response:\nSit.", "\nSit."),
        ("AI: Sit.", " Sit."),
        ("<BOT>: Sit.", " Sit."),
        ("Mara> Sit.", " Sit."),
        ("Mara -> You: Sit.", " Sit."),
        ("Mara to Bram Stone: Sit.", " Sit."),
        ("Mara (10:42): Sit.", " Sit."),
        ("Mara \U0001f642: Sit.", " Sit."),
        ("Mara, the innkeeper: Sit.", " Sit."),
        ("Mara's response: Sit.", " Sit."),
        ("Mara murmurs with a smile: Sit.", " Sit."),
        ('Mara says, "Sit."', '"Sit."'),
        ('Mara \u2014 "Sit."', '"Sit."'),
        ("Mara\u300cSit.\u300d", "\u300cSit.\u300d"),
        ("mara_ironwood: Sit.", " Sit."),
        ("Mara\u2236 Sit.", " Sit."),
        *((f"{sign}Mara: Sit.", " Sit.") for sign in ("* ", "1. ", "2) ", "\u2014", "--", "| ")),
    ],
)
def test_a_label_with_what_the_speaker_does(text: str, rest: str) -> None:
    assert label(text) == (Label.OWN, rest)


@pytest.mark.parametrize(
    "text",
    [
        *("Mara", "Mara says hello to you.", "Mara said so.", "Mara smiles: yes", "Mara, go: now"),
        *(
            "Marathon: run",
            "Mara's: mine",
            "Mara is my name: see?",
            "(Mara smiles) So.",
            "Mara (hm",
        ),
        *("*Mara waves*", "*Mara: sits down*", "[Mara: sits down]", "[Mara smiles]", "Mara\n: so"),
        *("You", "You are late.", "You said: go.", "You're right: go.", "Your: own", "(You) go"),
        *("Sir: I beg you.", "Old: that is what I am.", "Bram says: we must go.", "Players: two"),
        *(": so", "**", '"', "#", "> ", "Users: all", "**Mara** is my name.", "the: end"),
        *(
            "Mara, come in and sit: here",
            "- Bram: the smith",
            "\u2014 You: all",
            "**Mara**",
            "**You**\nso",
        ),
        *("-", "- ", "*Mara*", "*Mara* and I", "**Mara**, yes", "# Mara", "Mara - and you?"),
        *("Mara to the gate. So: now", "1. Bread: two", "* You: all", "assistant", "You\nso"),
        *("{{user}} smiles.", 'Mara "Red" is it', "Mara\u2014that is me: so"),
    ],
)
def test_what_is_no_label_is_spoken(text: str) -> None:
    assert label(text) == (Label.NONE, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("\u9a6c\u62c9", "\u9a6c\u62c9\uff1a\u5750\u3002"),
        ("\u9a6c\u62c9", "\u9a6c\u62c9\u8bf4\uff1a\u5750\u3002"),
        ("\u9a6c\u62c9\u00b7\u827e\u6069", "\u9a6c\u62c9\uff1a\u5750\u3002"),
        ("Theodora Quill, Warden of the Nine", "Theodora Quill: \u5750\u3002"),
        ("The Innkeeper", "Innkeeper: \u5750\u3002"),
        ("Mara (old)", "mara: \u5750\u3002"),
        ("Dr. Voss", "Voss: \u5750\u3002"),
        ("Jos\u00e9", unicodedata.normalize("NFD", "Jos\u00e9: \u5750\u3002")),
        (unicodedata.normalize("NFD", "Jos\u00e9"), "JOS\u00c9: \u5750\u3002"),
        ("\u01c5\u00df\ufb01", "\u01c4SSFI: \u5750\u3002"),
    ],
)
def test_names_of_all_kinds(name: str, text: str) -> None:
    found, rest = label(text, Labels([name]))
    assert (found, rest.strip()) == (Label.OWN, "\u5750\u3002")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("\u0130pek", "ipek: so"),
        ("\u0130pek", "IPEK: so"),
        ("I\u015f\u0131l", "\u0131\u015f\u0131l: so"),
        ("Jos\u00e9", "Jose: so"),
        ("\u0424\u0451\u0434\u043e\u0440", "\u0424\u0415\u0414\u041e\u0420: so"),
        ("\u0386\u03c1\u03b7\u03c2", "\u0391\u03a1\u0397\u03a3: so"),
        ("\u0645\u0627\u0631\u0627", "\u0645\u064e\u0627\u0631\u064e\u0627: so"),
        ("D'Artagnan", "D\u02bcArtagnan: so"),
        ("Jean-Luc", "Jean\u2011Luc: so"),
        ("Mara Elin Ironwood", "Mara Ironwood: so"),
        ('Mara "Red" Ironwood', "Red: so"),
        ('Mara "Red" Ironwood', "Mara \u201cRed\u201d Ironwood: so"),
        ("Mr. Smith", "Mr Smith: so"),
        ("Mara_Ironwood", "Mara: so"),
        ("Mara: the Red", "Mara: so"),
        ("\u30de\u30e9", "\u30de\u30e9\u300c so"),
    ],
)
def test_names_spelt_another_way(name: str, text: str) -> None:
    found, rest = label(text, Labels([name]))
    assert (found, rest.strip(" \u300c")) == (Label.OWN, "so")


def test_whom_a_role_belongs_to() -> None:
    assert label("Bot: so", Labels(["Mara"]))[0] is Label.OWN
    assert label("Bot: so", Labels(["Mara"], ["Bot"]))[0] is Label.OTHER
    assert label("User: so", Labels(["User"]))[0] is Label.OWN
    for text in ("Player says: so", "{{user}} asks softly: so", "user\nso"):
        assert label(text)[0] is Label.OTHER


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("You: the one I trust.", Label.NONE),
        ("Bram: a smith", Label.OTHER),
        ("You: The one", Label.OTHER),
        ("you: the one", Label.OTHER),
        ("You:", Label.OTHER),
        ("[You]: ok", Label.OTHER),
        ("Mara: the one", Label.OWN),
    ],
)
def test_where_nothing_was_said_a_small_letter_goes_on(text: str, found: Label) -> None:
    for n in range(1, len(text) + 1):
        early = LABELS.look(text[:n], 0, n == len(text), has_said=False)[0]
        assert early in (Label.UNDECIDED, found)
    assert early is found
    assert LABELS.look(text, 0, True)[0] is (found if found is Label.OWN else Label.OTHER)


def test_a_name_that_two_have_is_the_characters_own() -> None:
    labels = Labels(["Tom Ironwood"], ["Mara Ironwood", "Player"])
    assert label("Ironwood: hm", labels) == (Label.OWN, " hm")
    assert label("Mara: hm", labels) == (Label.OTHER, " hm")
    assert label("Player: hm", Labels(["Player"])) == (Label.OWN, " hm")


def test_names_that_cannot_be_labels() -> None:
    labels = Labels(["", " ", "x" * 1000, "**"], ["", "a" * 300])
    for text in (":", " : ", "x" * 1000 + ":", "**: so"):
        assert label(text, labels)[0] is Label.NONE


def test_where_only_the_own_label_counts() -> None:
    for text, found in (("Mara: so", Label.OWN), ("You: so", Label.NONE), ("Bram", Label.NONE)):
        assert LABELS.look(text, 0, False, own_only=True)[0] is found


def test_what_stays_undecided_is_bounded() -> None:
    for text in ("\u200b" * 1000, "[" * 1000, "Mara" + " " * 1000, "Mara (" + "x" * 1000):
        assert LABELS.look(text, 0, False)[0] is Label.NONE
        assert LABELS.look(text[:MAX_LABEL], 0, False)[0] is Label.NONE


_PARTS = st.sampled_from(
    [
        *("Mara", "Ironwood", "You", "Player", "Bram", "{{user}}", "ma", "\uff2d", "\u0301", "x"),
        *(
            "*",
            "**",
            "_",
            '"',
            "'",
            "[",
            "]",
            "<",
            ">",
            "(",
            ")",
            "\u300c",
            "\u300d",
            "#",
            "\u200b",
        ),
        *(
            ":",
            "\uff1a",
            " ",
            "  ",
            "\n",
            " says",
            " softly",
            " (smiling)",
            " *nods*",
            " sa",
            "\udc80",
        ),
    ]
)


@settings(deadline=None, max_examples=500)
@given(st.lists(st.one_of(_PARTS, st.text(max_size=2)), min_size=1, max_size=12).map("".join))
def test_whole_is_bit_by_bit(text: str) -> None:
    if text:
        label(text)
