"""Invariant: how the bytes of a reply are cut into pieces never changes what comes out of it."""

import re
import time
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from npc_engine.text import punctuation
from npc_engine.text.detokenizer import DEBRIS, Detokenizer, Record
from npc_engine.text.punctuation import UNSEEN
from npc_engine.text.sentences import MAX_GESTURE, MAX_LINE

OWN = ("Mara",)
OTHERS = ("Player", "Old Tom")


def run(pieces: Iterable[bytes], stop: tuple[str, ...] = ()) -> tuple[Detokenizer, list[Record]]:
    detok = Detokenizer(own=OWN, others=OTHERS, stop=stop)
    records = [record for piece in pieces for record in detok.feed(piece)]
    return detok, records + detok.finish()


def singles(raw: bytes) -> list[bytes]:
    return [raw[i : i + 1] for i in range(len(raw))]


def spoken(reply: str, stop: tuple[str, ...] = ()) -> list[str]:
    """Lines as they are, gestures in asterisks."""
    _, records = run(singles(reply.encode()), stop)
    shown = {"line": "{}", "gesture": "*{}*"}
    return [shown[r.kind].format(r.text) for r in records if r.kind != "text"]


def text_of(reply: str | bytes, stop: tuple[str, ...] = ()) -> str:
    raw = reply.encode() if isinstance(reply, str) else reply
    return run(singles(raw), stop)[0].text


# Rule 1 of the text: whole code points.


def test_a_code_point_is_never_split() -> None:
    detok = Detokenizer()
    fed = [[r.text for r in detok.feed(piece)] for piece in singles("é€😀".encode())]
    assert fed == [[], ["é"], [], [], ["€"], [], [], [], ["😀"]]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"a\xffb", "a\ufffdb"),
        (b"a\xe4\xb8b", "a\ufffd\ufffdb"),
        (b"\xc0\x80 a \xc2 ", "a"),
        (b"cut \xe4\xb8", "cut"),
        (b"a\x00b\x07\r\nc\td\x1b[0m", "ab\nc\td[0m"),
        ("\u0085a\u009fb".encode(), "ab"),
    ],
)
def test_bad_bytes_and_control_characters(raw: bytes, text: str) -> None:
    assert text_of(raw) == text


# Rule 2: thinking.


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("<think>Hm.\nPlayer: no</think>\n\nYes.", "Yes."),
        ("<thinking>Hm. <|im_end|></thinking>Mara: Yes.", "Yes."),
        ("Well,<think>Hm</think> yes.", "Well, yes."),
        ("Yes. <think>And then", "Yes."),
        ("A <b>bold</b> <thin line", "A <b>bold</b> <thin line"),
        ("Yes.</think> No.", "Yes. No."),
        ("I <think", "I <think"),
    ],
)
def test_thinking_is_not_part_of_the_text(reply: str, text: str) -> None:
    assert text_of(reply) == text


# Rules 3 and 4: stop strings and names.


@pytest.mark.parametrize(
    ("reply", "stop", "text"),
    [
        ("One. END Two.", ("END",), "One."),
        ("One. EN Two.", ("END",), "One. EN Two."),
        ("One. EN", ("END",), "One. EN"),
        ("abcd!", ("bcx", "cd"), "ab"),
        ("abab!c", ("abac", "ab!"), "ab"),
        ("One.\n\nTwo.", ("\n\n",), "One."),
        ("One.\nPlayer: Two", (), "One."),
        ("One.\n  **Old Tom:** Two", (), "One."),
        ("One.\nPLAYER : Two", (), "One."),
        ("Player: One", (), ""),
        ("I said to Player: go", (), "I said to Player: go"),
        ("One.\nPlayers: two", (), "One.\nPlayers: two"),
        ("Mara: One.", (), "One."),
        ("  Mara: Mara: One.", (), "One."),
        ("*Mara*: One.\n**Mara:** Two.\n**Mara**: Three.", (), "One.\nTwo.\nThree."),
        ("MARA: One.\nMara\uff1aTwo.", (), "One.\nTwo."),
        ("Mara is my name. I am Mara: see?", (), "Mara is my name. I am Mara: see?"),
        ("Mara", (), "Mara"),
        ("*Mara waves* One.", (), "*Mara waves* One."),
        ("Mara:\nPlayer: go", (), ""),
        ("*nods* Mara: One.\n(sighs) **Mara:** Two.", (), "*nods* One.\n(sighs) Two."),
        ("*nods* You: of all people.", (), "*nods* You: of all people."),
        ("*nods* Mara says hello.\n*bows* 'Tis", (), "*nods* Mara says hello.\n*bows* 'Tis"),
        ("So. *nods* Mara: One.", (), "So. *nods* Mara: One."),
        ("\nOne.\nTwo.", ("\n",), "One."),
        (" \n Mara: \nOne.\n\nTwo.", ("\n", " "), "One."),
        ("<think>x</think>\n\nOne.\n\nTwo.", ("\n\n",), "One."),
        ("\nEND One.", ("\n", "\nEND"), ""),
        ("\u200b\nOne.\nTwo.", ("\n", "\u200b"), "One."),
        ("\ufeff One.\u200b Two", ("\u200b", "\ufeff"), "One."),
        ('"\nOne."\nTwo.', ("\n",), '"\nOne."'),
        ("...\nOne.", ("\n",), "..."),
    ],
)
def test_stop_strings_and_names(reply: str, stop: tuple[str, ...], text: str) -> None:
    assert text_of(reply, stop) == text


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("One. EN", "One."),
        ("One. E", "One."),
        ("One.<|im_", "One."),
        ("One.</", "One."),
        ("One. [IN", "One."),
        ("One. <thin", "One."),
        ("One. <think>x</thi", "One."),
        ("One.\nPlay", "One."),
        ("One.\n**Old Tom", "One."),
        ("One.\nMara", "One."),
        ("<|im_", ""),
        ("Mara", "Mara"),  # it is all there is
        ("You", "You"),
        ("One. Two", "One. Two"),
        ("One. EX", "One. EX"),
    ],
)
def test_of_a_reply_that_was_cut_nothing_undecided_is_left(reply: str, text: str) -> None:
    for raw in (reply.encode(), reply.encode() + "é".encode()[:1]):
        for pieces in (singles(raw), [raw]):
            detok = Detokenizer(own=OWN, others=OTHERS, stop=("END",))
            records = [record for piece in pieces for record in detok.feed(piece)]
            records += detok.finish(cut=True)
            assert detok.text == text
            assert " ".join(r.text for r in records if r.kind == "line") == text
            assert detok.kept_bytes == len(text.encode())


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        ("(she sig", ["*she sig*"]),
        ("One. [she si", ["One.", "*she si*"]),
        ("One (two th", ["One (two th"]),
        ("(", []),
    ],
)
def test_a_bracket_that_the_end_of_a_cut_reply_left_open(reply: str, shown: list[str]) -> None:
    detok = Detokenizer()
    records = detok.feed(reply.encode()) + detok.finish(cut=True)
    found = [f"*{r.text}*" if r.kind == "gesture" else r.text for r in records if r.kind != "text"]
    assert found == shown


@pytest.mark.parametrize(
    ("reply", "has_said"),
    [
        ("Mara", True),
        ("**You", True),
        ("Mara:", False),
        ("EN", True),
        ("**", False),
        ("<|im", False),
        ("[IN", False),
        (" ", False),
    ],
)
def test_a_name_that_may_become_a_label_is_something_said(reply: str, has_said: bool) -> None:
    detok = Detokenizer(own=OWN, stop=["END"])
    detok.feed(reply.encode())
    assert detok.has_said is has_said


@pytest.mark.parametrize("debris", DEBRIS)
def test_what_templates_put_between_turns_stops(debris: str) -> None:
    detok, records = run([f"Fine.{debris}user".encode()])
    assert (detok.text, detok.stopped, detok.kept_bytes) == ("Fine.", True, 5)
    assert detok.feed(b"more") == []
    assert [r.text for r in records] == ["Fine.", "Fine."]


def test_the_character_may_have_the_players_name() -> None:
    detok = Detokenizer(own=["Player"])
    detok.feed(b"Player: Hello.")
    assert (detok.text, detok.stopped) == ("Hello.", False)


def test_empty_names_and_stop_strings_mean_nothing() -> None:
    detok = Detokenizer(own=["", " "], stop=[""])
    detok.feed(b": a : b")
    detok.finish()
    assert (detok.text, detok.stopped) == (": a : b", False)


# Gestures.


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("*nods* Hello.", ["*nods*", "Hello."]),
        ("_nods slowly_ Hello.", ["*nods slowly*", "Hello."]),
        ("Hello. *waves\tback * Come in.", ["Hello.", "*waves back*", "Come in."]),
        ("Hello *waves* Come in.", ["Hello", "*waves*", "Come in."]),
        ("Hello *waves*", ["Hello", "*waves*"]),
        ("Hello.*waves* come in", ["Hello.", "*waves*", "come in"]),
        ("I *never* said that.", ["I never said that."]),
        ("That is *mine*.", ["That is mine."]),
        ("That is *mine.* go", ["That is mine.", "go"]),
        ("I _never_ said that.", ["I never said that."]),
        ("I *sigh deeply* know.", ["I", "*sigh deeply*", "know."]),
        ("un*believ*able", ["unbelievable"]),
        ("This is **very bold** talk. **Go.** Now.", ["This is very bold talk.", "Go.", "Now."]),
        ("***Loud*** talk", ["Loud talk"]),
        ("my_own_name and __init__", ["my_own_name and init"]),
        ("*a **b** c* d", ["*a b c*", "d"]),
        ("(sighs) Fine.", ["*sighs*", "Fine."]),
        ("[She looks away.] Fine. (sighs)", ["*She looks away.*", "Fine.", "*sighs*"]),
        ("（笑）好。", ["*笑*", "好。"]),  # noqa: RUF001
        ("I know (trust me) it.", ["I know (trust me) it."]),
        ("(1) Bread", ["(1) Bread"]),
        ("(no end\nFine.", ["(no end", "Fine."]),
        ("*(sighs)* Fine.", ["*sighs*", "Fine."]),
        ("** * * ** Fine.", ["Fine."]),
        ("*...* Fine.", ["... Fine."]),
        ("* bread\n* milk", ["bread", "milk"]),
        ("Six * seven", ["Six seven"]),
        ("*walks off\nHello.", ["*walks off*", "Hello."]),
        ("Hello. *walks o", ["Hello.", "*walks o*"]),
        ("Hello, *walks off\nBye.", ["Hello, walks off", "Bye."]),
        ("Hello, *walks o", ["Hello, walks o"]),
        ("*nods**smiles* Yes.", ["*nods smiles*", "Yes."]),
        ('"*nods* Hello."', ["*nods*", "Hello."]),
        ("(sighs). Hello.", ["*sighs*", "Hello."]),
        ("Hello, *she says*, friend.", ["Hello,", "*she says*", "friend."]),
        ("你好*点头*再见", ["你好", "*点头*", "再见"]),
    ],
)
def test_gestures(reply: str, expected: list[str]) -> None:
    assert spoken(reply) == expected


def test_a_gesture_without_end_is_speech_in_the_end() -> None:
    reply = "*" + "walks " * (MAX_GESTURE // 6 + 1)
    assert not any(line.startswith("*") for line in spoken(reply))


# Lines.


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("One. Two! Three? four", ["One.", "Two!", "Three?", "four"]),
        ("What?! No!! Oh...", ["What?!", "No!!", "Oh..."]),
        ("Mr. and Mrs. Hill met Dr. Voss.", ["Mr. and Mrs. Hill met Dr. Voss."]),
        ("J. R. Hill and I. We go.", ["J. R. Hill and I.", "We go."]),
        ("Bread, i.e. food, etc. Then e.g. Milk.", ["Bread, i.e. food, etc.", "Then e.g. Milk."]),
        ("At 5 p.m. we eat. (St. Ives)", ["At 5 p.m. we eat.", "*St. Ives*"]),
        ("No. 5 lives. No. Never.", ["No. 5 lives.", "No.", "Never."]),
        ("Pi is 3.14. See a.b.c for more.", ["Pi is 3.14.", "See a.b.c for more."]),
        ("Well... maybe. Well... Maybe… so.", ["Well... maybe.", "Well...", "Maybe… so."]),
        ('He said "Go." Then "Run!" he said.', ['He said "Go."', 'Then "Run!" he said.']),
        ("¿Qué? ¡No! El Sr. Paz y Ud. van.", ["¿Qué?", "¡No!", "El Sr. Paz y Ud. van."]),
        ("Gracias a Ud. Adiós.", ["Gracias a Ud.", "Adiós."]),
        ("Quoi ? Non\u202f! M. Roux et Mme. Roux.", ["Quoi ?", "Non !", "M. Roux et Mme. Roux."]),
        ("Il dit « Non ! » Puis rien.", ["Il dit « Non ! »", "Puis rien."]),
        ("Er sagte: „Gut.“ Dann z.B. Äpfel.", ["Er sagte: „Gut.“", "Dann z.B. Äpfel."]),
        ("„Wirklich?“ fragte Hr. Roth.", ["„Wirklich?“ fragte Hr. Roth."]),
        ("»Gut.« Brot usw. und Nr. 5.", ["Gut.", "Brot usw. und Nr. 5."]),
        ("你好。「好！」真的？！是。", ["你好。", "好！", "真的？！", "是。"]),  # noqa: RUF001
        ("नमस्ते। ठीक है।", ["नमस्ते।", "ठीक है।"]),
        ("One\ntwo\n\nthree", ["One", "two", "three"]),
        (
            "A Ph.D. is here. Sig. Roth u.a. Nimm z. B. Brot.",
            ["A Ph.D. is here.", "Sig. Roth u.a. Nimm z. B. Brot."],
        ),
        (
            "Ale \u0438 \u0442. \u0434. \u043d\u0435\u0442.",
            ["Ale \u0438 \u0442. \u0434. \u043d\u0435\u0442."],
        ),
        ("1. Bread. 2. Milk.", ["1. Bread.", "2. Milk."]),
        ("...\nWell.", ["... Well."]),
        ("Well. ... Yes.", ["Well. ...", "Yes."]),
        ("Well. ...yes.", ["Well.", "...yes."]),
        ("Well.\n!!", ["Well."]),
        ("...", ["..."]),
        ("?!\n", ["?!"]),
        ("😀", ["😀"]),
        ('"Hello."', ["Hello."]),
        ("“Hello. How are you?”", ["Hello.", "How are you?"]),
        ("'Hello.'", ["Hello."]),
        ("'Tis the lads", ["'Tis the lads"]),
        ('"Go," he said, "now."', ['"Go," he said, "now."']),
        ("  One \t two  \n ", ["One two"]),
        ("", []),
    ],
)
def test_lines(reply: str, expected: list[str]) -> None:
    assert spoken(reply) == expected


@pytest.mark.parametrize(
    "lines",
    [
        ["\u05f4\u05d0\u05e0\u05d9.\u05f4", "\u05d1\u05d5\u05d0."],  # Hebrew quotes
        ["\u05d0\u05e0\u05d9\u05c3", "\u05d1\u05d5\u05d0\u05c3"],
        [
            "\u0623\u0646\u0627 \u0647\u0646\u0627.\u200f",
            "\u0647\u064a\u0627.",
        ],  # a mark of direction
        ["\u1290\u129d::", "\u1295\u12d3: \u12f0\u1205::"],  # Ethiopic, typed with colons
        [
            "\u0395\u03af\u03c3\u03b1\u03b9 \u03b7 Mara;",
            "\u03a0\u03ac\u03bc\u03b5.",
        ],  # a foreign name last
        ["\u0535\u057d Mara:", "\u0533\u0576\u0561\u0576\u0584:"],
        ["\u092e\u0948\u0902 Mara |", "\u091a\u0932\u094b |"],
        ["\u0db8\u0db8\u0df4", "\u0dba\u0db8\u0dd4\u0df4"],
        ["\u0e08\u0e1a\u0e41\u0e25\u0e49\u0e27\u0e5a", "\u0e44\u0e1b\u0e5a"],
    ],
)
def test_sentences_of_many_scripts(lines: list[str]) -> None:
    assert spoken(" ".join(lines)) == [line.strip("\u05f4") for line in lines]


def test_marks_of_two_cries_need_no_space_in_cjk() -> None:
    assert spoken("\u884c\u3051\u203c\u4eca\u2049\u884c") == [
        "\u884c\u3051\u203c",
        "\u4eca\u2049",
        "\u884c",
    ]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("\u200b", []),
        ("\u2060 \n\ufeff", []),
        ("One.\n\u200b\nTwo.", ["One.", "Two."]),
        ("\u200fOne.\u200f", ["One."]),
        ("\U0001f469\u200d\U0001f467 so\u00adft", ["\U0001f469\u200d\U0001f467 so\u00adft"]),
    ],
)
def test_what_nothing_can_be_seen_of_is_not_spoken(reply: str, expected: list[str]) -> None:
    assert spoken(reply) == expected


@pytest.mark.parametrize(
    ("reply", "n_first"),
    [
        ("word " * 60 + "end.", MAX_LINE // 5 * 5 - 1),
        ("so " * 50 + "it is, " + "so " * 60, 156),
        ("x" * 300, MAX_LINE),
        ("好" * 150 + "，" + "好" * 150, 151),  # noqa: RUF001
    ],
)
def test_a_long_sentence_is_cut(reply: str, n_first: int) -> None:
    detok, records = run(singles(reply.encode()))
    lines = [r.text for r in records if r.kind == "line"]
    assert len(lines[0]) == n_first
    assert all(len(line) <= MAX_LINE for line in lines)
    assert "".join("".join(lines).split()) == "".join(detok.text.split())


@pytest.mark.parametrize(
    ("held", "release", "line"),
    [
        ("Hello.", " Y", "Hello."),
        ("Hello. ", "Y", "Hello."),
        ("Dr. Voss is here", "\n", None),
        ("Hello", "\nW", "Hello"),
        ("Hello\nYou", " a", "Hello"),  # not until it is no "You:"
        ("你好。", "再", "你好。"),
        ("Quoi ", "? Oui", "Quoi ?"),
    ],
)
def test_a_line_comes_as_soon_as_it_is_certain(held: str, release: str, line: str | None) -> None:
    detok = Detokenizer()
    assert [r for r in detok.feed(held.encode()) if r.kind == "line"] == []
    lines = [r.text for r in detok.feed(release.encode()) if r.kind == "line"]
    assert lines == ([line] if line else [])


def test_records_know_where_they_are() -> None:
    detok, records = run([b"Mara: *nods* Yes. ", b'"No  way."\nGo'])
    text = detok.text
    assert [(r.kind, r.index, text[r.start : r.end]) for r in records if r.kind != "text"] == [
        ("gesture", 0, "*nods*"),
        ("line", 0, "Yes."),
        ("line", 1, '"No  way."'),
        ("line", 2, "Go"),
    ]
    assert [r.index for r in records if r.kind == "text"] == [0, 1]
    assert all(text[r.start : r.end] == r.text for r in records if r.kind == "text")


# Barge-in and raw offsets.


@pytest.mark.parametrize(
    ("n_heard", "text"),
    [
        (-1, ""),
        (0, ""),
        (1, "*nods* Y"),
        (4, "*nods* Yes."),
        (5, "*nods* Yes. I"),
        (11, "*nods* Yes. I *never*"),
        (20, "*nods* Yes. I *never*  did."),
        (99, "*nods* Yes. I *never*  did."),
    ],
)
def test_heard(n_heard: int, text: str) -> None:
    detok, _ = run([b"*nods* Yes. I *never*  did. *bows*"])
    cut = detok.text[: detok.heard(n_heard)]
    assert cut.replace("never*", "never").rstrip() == text.replace("never*", "never")


def test_raw_offsets_count_what_was_dropped() -> None:
    pieces = [
        b"<think>x</think>\n Mara: ",
        "Hé".encode(),
        b"\x00l\xff",
        b". <think>y</think>",
        b"B",
    ]
    raw = b"".join(pieces)
    detok, _ = run([raw + b" <|im_end|> more"])
    assert detok.text == "Hél\ufffd. B"
    ends = [raw.index(piece) + len(piece) for piece in pieces]
    expected = {-1: 0, 0: 0, 2: ends[1], 3: ends[1] + 2, 4: ends[2], 5: ends[2] + 1, 7: ends[4]}
    assert {n: detok.raw_offset(n) for n in expected} == expected
    assert detok.kept_bytes == detok.raw_offset(99) == len(raw)


def test_what_is_set_aside_counts_no_more() -> None:
    """A thought that has left the reply: offsets begin behind it."""
    detok = Detokenizer()
    thought = b"<think>Hm, a wolf.</think>"
    detok.feed(thought)
    assert detok.has_only_thought
    detok.set_aside(0)
    assert detok.has_only_thought, "it is still there"
    detok.set_aside(len(thought))
    assert not detok.has_only_thought
    detok.feed(b"\n\nAye.")
    detok.finish()
    assert [detok.raw_offset(n) for n in range(5)] == [0, 3, 4, 5, 6]
    assert detok.kept_bytes == len(b"\n\nAye.")


def test_kept_bytes_while_the_reply_comes() -> None:
    detok = Detokenizer(own=OWN, others=OTHERS)
    kept = []
    for piece in (b"Mara:", b" One", b". ", b"<thi", b"nk>x</think>", b"\nPlayer", b": b"):
        detok.feed(piece)
        kept.append(detok.kept_bytes)
    assert kept == [0, 9, 10, 10, 10, 10, 10]


# Properties.

_SNIPPETS = [
    *("*", "**", "_", "(", ")", "[", "]", '"', "“", "”", "„", "«", "»", "'", "’"),  # noqa: RUF001
    *(".", "...", "…", "!", "?", "?!", ",", ";", ":", "。", "！", "」", "「", "，"),  # noqa: RUF001
    *(" ", " ", " ", "\n", "\u202f", "\t", "\r", "\x00", "-", "\u2014", "<", "</"),
    *("Mara", "Mara:", "**Mara:**", "Player", "Player:", "\nPlayer:", "Old Tom", "PLAYER"),
    *("\nYou", "\nMara", "[Mara]", "<Mara>", "mara", " (smiling)", " says", " softly", "**"),
    *("<think>", "</think>", "<thinking>", "</thinking>", "<|im_", "<|im_end|>", "[/IN", "END"),
    *("word", "Word", "w", "W", "Mr", "No", "e.g", "etc", "3", "14", "I", "é", "好", "ö", "😀"),
    *("\u0301", "*nods*", "(sighs)", " *so* ", "x" * 50, "and so on, " * 12),
]
_REPLIES = st.lists(st.one_of(st.sampled_from(_SNIPPETS), st.text(max_size=6)), max_size=40).map(
    "".join
)
_RAWS = st.one_of(
    _REPLIES.map(lambda text: text.encode(errors="replace")),
    st.lists(
        st.one_of(st.sampled_from(_SNIPPETS).map(str.encode), st.binary(max_size=4)), max_size=25
    ).map(b"".join),
)
_STOPS = st.sampled_from([(), ("END",), ("\n\n",), ("word.", "d...", "*("), ("<think>",), (" ",)])

Outcome = tuple[str, bool, int, list[Record]]


def outcome(pieces: Iterable[bytes], stop: tuple[str, ...]) -> Outcome:
    detok, records = run(pieces, stop)
    assert "".join(r.text for r in records if r.kind == "text") == detok.text
    return detok.text, detok.stopped, detok.kept_bytes, [r for r in records if r.kind != "text"]


def words(text: str) -> str:
    return "".join(punctuation.WORD.findall(text))


def bare(text: str) -> str:
    return re.sub(rf"[\s\ufffd{UNSEEN}]+\Z", "", text)


@settings(deadline=None, max_examples=400)
@given(_RAWS, _STOPS, st.data())
@example(b"Hello*nods**Mara", (), None)
@example(b"a" * 239 + b" .* b", (), None)
def test_whole_is_byte_by_byte_is_any_cut(
    raw: bytes, stop: tuple[str, ...], data: st.DataObject | None
) -> None:
    whole = outcome([raw], stop)
    assert outcome(singles(raw), stop) == whole
    if data:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
        bounds = [0, *cuts, len(raw)]
        pieces = [raw[a:b] for a, b in pairwise(bounds)]
        assert outcome(pieces, stop) == whole


@settings(deadline=None, max_examples=300)
@given(_RAWS)
def test_every_word_is_in_one_record_and_no_mark_is(raw: bytes) -> None:
    text, _, _, records = outcome([raw], ())
    assert "".join(words(r.text) for r in records) == words(text)
    for record in records:
        assert record.text == " ".join(record.text.split()) != ""
        assert "*" not in record.text
        assert 0 <= record.start < record.end <= len(text)
        assert words(text[record.start : record.end]) == words(record.text)
    for kind in ("line", "gesture"):
        kin = [r for r in records if r.kind == kind]
        assert [r.index for r in kin] == list(range(len(kin)))
        assert all(a.end <= b.start for a, b in pairwise(kin))


@settings(deadline=None, max_examples=300)
@given(_RAWS, _STOPS)
def test_the_text_is_clean(raw: bytes, stop: tuple[str, ...]) -> None:
    text, _, _, _ = outcome(singles(raw), stop)
    assert text == text.strip() == text.strip(UNSEEN)
    assert not any(string in text for string in (*stop, *DEBRIS))
    assert not any(ord(c) < 32 and c not in "\n\t" for c in text)
    assert not any(row.lstrip().startswith("Player:") for row in text.split("\n"))
    assert text.encode().decode() == text


@pytest.mark.parametrize("size", [1, 99])
@pytest.mark.parametrize(
    ("raw", "text", "n_kept"),
    [
        (b"Go.\n\x1f\nNow.", "Go.", 3),
        (b"Go.<|im\x00_end|>Now.", "Go.", 3),
        (b"Go \x07on.\x1b[END]", "Go on.", 7),
        (b"\x02Ma\x02ra: \xc2\x85Go.\x02", "Go.", 13),
        (b"<thi\x7fnk>A</th\x08ink>Go.", "Go.", 21),
    ],
)
def test_control_characters_hide_nothing(raw: bytes, text: str, n_kept: int, size: int) -> None:
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    detok, _ = run(pieces, ("\n\n", "[END]"))
    assert (detok.text, detok.kept_bytes) == (text, n_kept)


@settings(deadline=None, max_examples=300)
@given(_RAWS, _STOPS)
def test_the_kept_bytes_alone_give_the_same_text(raw: bytes, stop: tuple[str, ...]) -> None:
    detok, _ = run([raw], stop)
    text = detok.text
    assert run([raw[: detok.kept_bytes]], stop)[0].text == text
    offsets = [detok.raw_offset(n) for n in range(len(text) + 1)]
    assert offsets == sorted(offsets)
    assert offsets[-1] == detok.kept_bytes <= len(raw)
    for n in range(0, len(text), 7):
        assert bare(run([raw[: offsets[n]]], stop)[0].text) == bare(text[:n])


@settings(deadline=None, max_examples=200)
@given(_RAWS)
def test_heard_is_monotonic(raw: bytes) -> None:
    detok, records = run([raw])
    lines = [r for r in records if r.kind == "line"]
    total = sum(len(line.text) for line in lines)
    offsets = [detok.heard(n) for n in range(-1, total + 2)]
    assert offsets == sorted(offsets)
    assert offsets[0] == 0
    assert offsets[-1] == (lines[-1].end if lines else 0) <= len(detok.text)


# Time.


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    [b"word. ", b"*go ", b"<", b" ", b".", b" .", b"(a ", b"\n", b"**", b"_a", b"a", b"\xe4"],
)
def test_time_is_linear(piece: bytes) -> None:
    def seconds(n_pieces: int) -> float:
        detok = Detokenizer(own=OWN, others=OTHERS)
        start = time.process_time()
        for _ in range(n_pieces):
            detok.feed(piece)
        detok.finish()
        return time.process_time() - start

    # 4 times the pieces: 4 times the time where it is linear, 16 times where it is quadratic.
    assert any(seconds(20_000) < 9 * seconds(5_000) for _ in range(3))


@pytest.mark.parametrize(
    ("raw", "text", "stopped"),
    [
        (b"\x80Player: hi", "", True),
        (b"One.\n\x80Player: hi", "One.", True),
        (b"\x80 \xffMara: Two.", "Two.", False),
        (b"One.\n\x80Mara: Two.", "One.\n\ufffdTwo.", False),
        (b"\x80Well, Mara: no.", "Well, Mara: no.", False),
    ],
)
def test_a_label_behind_an_undecodable_byte_is_one(raw: bytes, text: str, stopped: bool) -> None:
    for pieces in ([raw], [raw[i : i + 1] for i in range(len(raw))]):
        detok = Detokenizer(own=["Mara"], others=["Player"])
        for piece in pieces:
            detok.feed(piece)
        detok.finish()
        assert (detok.text, detok.stopped) == (text, stopped)
