"""Where what is kept of a reply lies in its raw bytes."""

from npc_engine.text.kept_text import KeptText, n_bytes


def test_runs_and_blanks_at_both_ends() -> None:
    kept = KeptText()
    kept.add(" \n", 0)
    assert (kept.text, kept.n, kept.has_said) == ("", 0, False)
    kept.add('"', 2)
    assert not kept.has_said
    kept.add("H\u00e9 ", 3)
    assert (kept.take_fresh(), kept.take_fresh(), kept.has_said) == ('"H\u00e9', "", True)
    kept.add("you. ", 20)  # what stood before it was dropped
    assert (kept.text, kept.n) == ('"H\u00e9 you.', 8)
    offsets = [kept.raw_offset(n) for n in (-1, 0, 1, 3, 4, 5, 8, 99)]
    assert offsets == [0, 0, 3, 6, 7, 21, 24, 24]


def test_bytes_that_are_no_text() -> None:
    kept = KeptText()
    kept.add("a\udc80b\udcff", 0)
    assert kept.text == kept.take_fresh() == "a\ufffdb"
    assert (n_bytes("a\udc80"), n_bytes("\u00e9"), n_bytes("")) == (2, 2, 0)
