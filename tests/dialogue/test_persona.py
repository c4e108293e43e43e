"""The persona: pinned, read first, and refused where it leaves no room to talk."""

import pytest

from npc_engine.errors import TooLarge
from tests.support.dialogues import BEGINNING, fake_of, make, told


def test_a_persona_that_leaves_no_room_is_refused() -> None:
    for window, most in [(128, 64), (256, 192), (600, 450)]:
        room = most - len(BEGINNING.replace("<s><|im_start|>system\nBe Mara.<|im_end|>\n", ""))
        markup = 1 + 1 + len("system\n") + 1 + 1
        npc = make(persona="x" * (room - markup), window=window)
        assert npc.ledger.n_pinned == most
        with pytest.raises(TooLarge, match=f"{most + 1} tokens of a window of {window}") as error:
            make(persona="x" * (room - markup + 1), window=window)
        assert str(most) in error.value.help


@pytest.mark.parametrize("window", [1, 40, 64])
def test_a_window_too_small_for_any_persona_is_refused(window: int) -> None:
    with pytest.raises(TooLarge) as error:
        make(window=window)
    assert "-" not in error.value.help, "no negative count of tokens"


def test_the_persona_is_pinned_and_read_first() -> None:
    npc = make()
    assert told(npc) == BEGINNING
    assert npc.ledger.n_pinned == npc.ledger.n_tokens == len(fake_of(npc).held(0))
