"""Strangers' texts cannot steer a terminal."""

from npc_engine.text.visible import on_one_row, plain


def test_texts_of_strangers_do_not_steer_the_terminal() -> None:
    assert plain("a\x1b[2J\rb\u202ec\x07") == "a\ufffd[2J\ufffdb\ufffdc\ufffd"
    assert plain("Jos\u00e9 \u96e8") == "Jos\u00e9 \u96e8"


def test_on_one_row() -> None:
    assert on_one_row(" Mara\n\tthe  \x1b[2Jsmith\u202e ") == "Mara the [2Jsmith"
