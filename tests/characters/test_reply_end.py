"""Where a reply ends: at a name, at a mark that was not to be seen, at a label of somebody else."""

import pytest

from npc_engine import protocol as m
from npc_engine.characters.generation import MAX_SILENT_TOKENS
from tests.support.rig import MakeRig, Rig, TimedLlama, scripted


def test_a_reply_that_is_only_the_characters_name(make_rig: MakeRig) -> None:
    """The name may become a label, and is held back; the reply may end behind it all the same."""
    rig = make_rig(fake=TimedLlama(mind=scripted("Mara")))
    rig.spawn("mara")
    assert rig.talk("mara").text == rig.last_reply("mara") == "Mara"


def test_a_reply_that_is_only_a_label_goes_on(make_rig: MakeRig) -> None:
    rig = make_rig(fake=TimedLlama(mind=scripted("Mara:")))
    rig.spawn("mara")
    assert rig.talk("mara").text.startswith("m")  # what the fake says where it may not end


@pytest.mark.parametrize("most", [1, 2, 5, 6])
def test_a_limit_counts_from_the_first_word(make_rig: MakeRig, most: int) -> None:
    """A label is not spoken: a limit that falls behind it would leave the player with nothing."""
    rig = make_rig(fake=TimedLlama(mind=scripted("Mara: Sit down.", end=False)))
    rig.spawn("mara")
    done = rig.talk("mara", max_tokens=most)
    assert done.reason == "length"
    assert done.text in ("M", "Ma", "S")
    assert done.stats.n_decoded <= most + 2


def test_a_reply_without_a_word_has_an_end(make_rig: MakeRig) -> None:
    rig = make_rig(fake=TimedLlama(mind=lambda tokens: 7), max_tokens=20)
    rig.spawn("mara")
    done = rig.talk("mara", max_tokens=3)
    assert (done.text, done.reason) == ("", "length")
    assert done.stats.n_decoded == 3 + MAX_SILENT_TOKENS


def n_spoken(rig: Rig) -> int:
    speaking = rig["mara"].generation
    return speaking.stats.n_decoded if speaking else 0


CUT_OFF_WITHIN = [
    "END",
    "\nPlayer:",
    "\n**You:**",
    "<|im_end|>",
    "<think>Hm.</think>",
    "<end_of_turn>",
    "é",
]


@pytest.mark.parametrize("mark", CUT_OFF_WITHIN)
@pytest.mark.parametrize("is_cancelled", [False, True])
def test_half_a_mark_is_not_spoken_and_not_remembered(
    make_rig: MakeRig, mark: str, is_cancelled: bool
) -> None:
    """`max_tokens` falls into it, at each byte of it; or the player speaks just then."""
    for n in range(1, len(mark.encode())):
        rig = make_rig(fake=TimedLlama(mind=scripted("Sit down. " + mark + "So.")))
        rig.spawn("mara", sampling={"stop": ["END"]})
        n_tokens = len("Sit down. ") + n
        limit = 200 if is_cancelled else n_tokens
        target = rig.say("mara", max_tokens=limit, stream=["text", "line"])
        if is_cancelled:
            while n_spoken(rig) < n_tokens:
                rig.step()
            rig.cancel(target)
        done = rig.until(target)
        assert (done.text, done.reason) == ("Sit down.", "cancelled" if is_cancelled else "length")
        assert "".join(rig.texts(target, m.Text)) == "Sit down."
        assert rig.texts(target, m.Line) == ([] if is_cancelled else ["Sit down."])
        assert rig.last_reply("mara") == "Sit down." + ("\u2014" if is_cancelled else "")


def test_line_breaks_as_stop_strings_count_behind_the_first_word(make_rig: MakeRig) -> None:
    rig = make_rig(fake=TimedLlama(mind=scripted("\n\n Mara:\nSit down.\nNow.")))
    rig.spawn("mara", sampling={"stop": ["\n", "\n\n", " \n"]})
    done = rig.talk("mara")
    assert (done.text, done.reason) == ("Sit down.", "stop")


def test_labels_of_the_card_and_of_whoever_speaks(make_rig: MakeRig) -> None:
    card = {"name": "Mara Ironwood", "nickname": "Red", "description": "Keeps the inn."}
    for own in ("Red", "Mara Ironwood", "mara", "[Red]", "**Mara (smiling):** Red"):
        rig = make_rig(fake=TimedLlama(mind=scripted(f"{own}: Sit down.\nAnselm: No.")))
        rig.spawn("mara", card=card)
        done = rig.talk("mara", speaker="Anselm Roth")
        assert (done.text, done.reason) == ("Sit down.", "stop")


def test_whoever_was_heard_in_a_scene_is_no_word_of_hers_later(make_rig: MakeRig) -> None:
    """Her window is full of "Bram: ...", so she may write his part long after the scene."""
    rig = make_rig(fake=TimedLlama(mind=scripted("Soup it is.\nBram: I want ale.")))
    for npc in ("mara", "bram"):
        rig.spawn(npc, card={"name": npc.title(), "system_prompt": "Keeps the inn."})
    rig.until(rig.scene("inn", ["mara", "bram"], turns=2))
    assert rig.talk("mara").text == "Soup it is."
