# ruff: noqa: RUF001
"""Sentence ends of all scripts: a line is whole, and comes as soon as the next one begins."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npc_engine.text import punctuation
from npc_engine.text import sentence_ends as terminals
from npc_engine.text.sentences import MIN_UNMARKED, LineSplitter, Record

SENTENCES = {
    "arabic": ["من أنت؟", "تعال."],
    "armenian": ["Ես այստեղ եմ։", "Գնանք։"],
    "armenian, with colons": ["Ես այստեղ եմ:", "Գնանք:"],
    "bengali": ["আমি এখানে।", "চলো।"],
    "burmese": ["မင်္ဂလာပါ။", "ဟုတ်ကဲ့၊ လာပါ။"],
    "ethiopic": ["እዚህ ነኝ።", "እንሂድ።"],
    "ethiopic, two word spaces": ["እዚህ፡ነኝ፡፡", "እንሂድ፡፡"],
    "ethiopic, question": ["ማን ነህ፧", "ና።"],
    "greek": ["Ποιος είσαι;", "Πάμε."],
    "greek, its own mark": ["Είπε «Ποιος είσαι\u037e»", "Το 1821\u037e", "πάμε."],
    "hindi": ["मैं यहाँ हूँ।", "चलो॥"],
    "hindi, with bars": ["मैं यहाँ हूँ |", "चलो |"],
    "khmer": ["ខ្ញុំនៅទីនេះ។", "តោះ៕"],
    "mongolian": ["ᠪᠢ ᠡᠨᠳᠡ ᠪᠠᠢᠨ᠎ᠠ᠃", "ᠶᠠᠪᠤᠶ᠎ᠠ᠃"],
    "syriac": ["ܐܢܐ ܗܪܟܐ܀", "ܬܐ܂"],
    "tibetan": ["ང་འདིར་ཡོད།", "འགྲོ།"],
    "tibetan, two shads": ["ང་འདིར་ཡོད། །", "འགྲོ། །"],
    "urdu": ["میں یہاں ہوں۔", "آپ کون ہیں؟", "چلو۔"],
    "sinhala, as english": ["මම මෙහි සිටිමි.", "යමු."],
    "nko": ["ߒ ߦߋ ߦߊ߲߬߹", "ߕߊ߯."],
    "marks of two": ["Was?!", "Nein‼", "Doch⁉", "Gut."],
    "full width": ["ここにいます．", "本当！", "行こう．"],
    "full width, doubled": ["本当？！", "行こう！！", "はい。。"],
    "chinese, half width": ["你好!", "真的吗?", "我走了.", "再见"],
}
NO_SPACE = (
    "burmese",
    "tibetan, two shads",
    "ethiopic",
    "khmer",
    "full width",
    "full width, doubled",
    "hindi",
)


def split(text: str) -> list[str]:
    """Return the lines of a text that comes character by character, and at once."""
    one = LineSplitter()
    records = [record for char in text for record in one.feed(char)] + one.finish()
    whole = LineSplitter()
    assert whole.feed(text) + whole.finish() == records
    assert all(text[r.start : r.end].strip() for r in records)
    return [r.text for r in records]


@pytest.mark.parametrize("script", SENTENCES)
def test_sentences_of_a_script(script: str) -> None:
    assert split(" ".join(SENTENCES[script])) == SENTENCES[script]


@pytest.mark.parametrize("script", [*NO_SPACE, "chinese, half width"])
def test_marks_that_need_no_space(script: str) -> None:
    assert split("".join(SENTENCES[script])) == SENTENCES[script]


@pytest.mark.parametrize("script", SENTENCES)
def test_a_line_comes_with_the_first_character_of_the_next(script: str) -> None:
    for line, following in pairwise(SENTENCES[script]):
        splitter = LineSplitter()
        records = splitter.feed(line) + splitter.feed(" " + following[0])
        assert [r.text for r in records] == [line]


@pytest.mark.parametrize(
    "text",
    [
        *("３．１４ です", "Ｕ．Ｓ．Ａ です", "１．パン", "３：３０です"),
        *("10։30-ին", "Ժամը 10:30-ին", "bread; and milk", "so: yes", "a | b", "a;b", "α:β γ"),
        *("พ.ศ. 2560", "ต่าง ๆ", "ሰላም፡ለሁሉ", "ایم۔اے کیا", "ก" * 99, "ཀ་ཁ", "我……你"),
    ],
)
def test_what_ends_nothing(text: str) -> None:
    assert len(split(text)) == 1


THAI = ["ฉันอยู่ที่นี่ตั้งแต่เช้าแล้ว", "คุณเป็นใครและมาจากไหนกันแน่"]
LAO = ["ຂ້ອຍຢູ່ທີ່ນີ້ຕັ້ງແຕ່ເຊົ້າແລ້ວ", "ເຈົ້າແມ່ນໃຜແລະມາແຕ່ໃສກັນແທ້"]


@pytest.mark.parametrize("clauses", [THAI, LAO])
def test_thai_and_lao_end_at_a_space_after_some_length(clauses: list[str]) -> None:
    assert split(" ".join(clauses)) == clauses
    assert split("  ".join(clauses)) == clauses
    short = clauses[0][: MIN_UNMARKED // 2 - 1]
    assert split(f"{short} {short}") == [f"{short} {short}"]
    assert split(f"{clauses[0]} 3 {short}") == [f"{clauses[0]} 3 {short}"]
    assert split(f"{clauses[0]} NPC {short}") == [f"{clauses[0]} NPC {short}"]
    splitter = LineSplitter()
    assert splitter.feed(clauses[0] + " ") == []
    assert [r.text for r in splitter.feed(clauses[1][0])] == [clauses[0]]


def test_thai_repeats_a_word_behind_a_space() -> None:
    assert split(THAI[0] + " ๆ") == [THAI[0] + " ๆ"]


def test_the_table_is_one_of_marks() -> None:
    """Whatever is in it is a mark in the Unicode that Python has, or not there yet."""
    assert all(unicodedata.category(char) in ("Po", "Cn") for char in terminals.TERMINALS)
    assert len(terminals.TERMINALS) == len(set(terminals.TERMINALS)) == 184
    assert set(terminals.SPACED) < set(terminals.TERMINALS)
    assert not any(punctuation.WORD.match(char) for char in terminals.TERMINALS)


_PARTS = st.sampled_from(
    [
        *terminals.TERMINALS[:60],
        *terminals.BY_SCRIPT,
        *("፡", "፡፡", " ", "  ", "\n", "»", '"', "*", "(", ")", "３", "Ｕ", "1", "ก", "ๆ", "ສ"),
        *("x", "X", "α", "Ա", "क", "我", "は", "ka ", THAI[0], LAO[0], "ཀ", "ا", "...", "…"),
    ]
)


@settings(deadline=None, max_examples=400)
@given(st.lists(_PARTS, max_size=25).map("".join))
def test_whole_is_bit_by_bit(text: str) -> None:
    one = LineSplitter()
    records = [record for char in text for record in one.feed(char)] + one.finish()
    whole = LineSplitter()
    assert whole.feed(text) + whole.finish() == records
    assert _words("".join(r.text for r in records)) == _words(text)


def _words(text: str) -> str:
    return "".join(punctuation.WORD.findall(text))


def test_a_record_says_where_it_stands() -> None:
    text = " ".join(SENTENCES["urdu"])
    splitter = LineSplitter()
    records: list[Record] = splitter.feed(text) + splitter.finish()
    assert [text[r.start : r.end] for r in records] == SENTENCES["urdu"]
