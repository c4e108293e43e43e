"""A reply that is cut back after its end: what came since keeps its place."""

import pytest

from npc_engine.dialogue.taking_back import cut_back
from tests.support.dialogues import THINKING, answer, make, told


def test_a_reply_can_be_cut_back_after_its_end() -> None:
    npc = make()
    npc.say("Player", "Well?")
    answer(npc, "I saw the wolf.")
    npc.open_turn.perceive("Rain.")
    npc.open_turn.read_typed("Player", "What")
    told(npc)
    assert cut_back(npc, 1, "I saw", 5)
    assert told(npc).endswith("assistant\nI saw\u2014<|im_end|>\n<|im_start|>user\n*Rain.*\nWhat")
    npc.say("Player", "What wolf?")
    assert told(npc).endswith("*Rain.*\nWhat wolf?<|im_end|>\n<|im_start|>assistant\n")
    answer(npc)
    assert not cut_back(npc, 1, "", 0), "only the last turn can be cut back"
    assert not cut_back(npc, 7, "", 0)


@pytest.mark.parametrize("n", range(30, 56))
def test_cutting_back_stays_within_positions(n: int) -> None:
    """What the dash adds may be more than there are positions left."""
    npc = make(window=256, n_pos=256, template=THINKING)  # the thought leaves a hole
    npc.say("Player", "x" * 40, ["y" * 15])
    answer(npc, "z" * 60)
    npc.open_turn.perceive("e" * 20)
    npc.open_turn.read_typed("Player", "h" * 30)
    npc.open_turn.read_typed("Player", "h" * n)
    told(npc)
    assert cut_back(npc, 1, "z" * 59, 59)
    assert npc.ledger.next_pos + npc.ledger.n_pending <= 256
    assert "z\u2014<|im_end|>" in told(npc)
