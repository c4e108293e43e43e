"""A fine-tune is swapped in: the same vocabulary, another chat template. No window has both."""

from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.dialogue.dialogue import CUT_OFF
from npc_engine.kvcache.ledger import Kind
from npc_engine.storage.snapshot import decode, encode
from npc_engine.text.chat_format import ChatFormat
from tests.support.fake_llama import START
from tests.support.rig import MakeRig, Rig, TimedLlama

BARS = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
FOLDED = (  # no system role: the persona leaves the first user turn open
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
    "[{{ m.role }}]{{ m.content | trim }}[/{{ m.role }}]{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
ONLY_SYSTEM = (  # turns as in ChatML, the persona otherwise
    "{% for m in messages %}{% if m.role == 'system' %}[I]{{ m.content | trim }}[/I]{% else %}"
    "<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

pytestmark = pytest.mark.usefixtures("no_fsync")


class Tuned(TimedLlama):
    template: str | None = None

    def chat_format(self, template: str | None = None) -> ChatFormat:
        return super().chat_format(template or self.template)


@pytest.fixture
def make_rig(make_rig: MakeRig) -> MakeRig:
    def make(template: str | None = None, **keys: Any) -> Rig:
        fake = Tuned(n_cells=1200, mind=lambda tokens: 97 + len(tokens) % 26)
        fake.template = template
        return make_rig(fake=fake, **{"window": 1200, "max_tokens": 24, **keys})

    return make


def live(rig: Rig) -> None:
    """A greeting, a pin, a note, an interruption, something overheard, events that wait."""
    rig.spawn("mara", card={"name": "Mara", "system_prompt": "Keeps the inn.", "first_mes": "Hm?"})
    rig.spawn("bram", card={"name": "Bram", "system_prompt": "A smith."})
    rig.ask(m.Pin(id=rig.id(), npc="mara", text="The key is under the stone."))
    rig.event("A bell tolls.", ["mara"])
    rig.talk("mara", "Hello.", notes=["It rains."])
    rig.until(rig.scene("inn", ["mara", "bram"], turns=3))
    broken = rig.say("mara", "Tell me all.")
    while rig["mara"].generation is None or len(rig["mara"].dialogue.reply.tokens) < 6:
        rig.step()
    rig.cancel(broken)
    rig.until(broken)
    rig.event("A dog barks.", ["mara"])
    rig.event("A candle burns down.", ["mara"], expires_s=60)
    rig.rest()


def told(rig: Rig) -> list[Any]:
    return [
        (s.kind, s.text, s.turn, s.pinned, s.importance, s.cut_off, s.expires is None)
        for s in rig["mara"].dialogue.ledger.segments
        if s.text and s.kind is not Kind.PERSONA
    ]


def check_markup(rig: Rig) -> None:
    """Each segment is as this engine's own template has it, and nothing else is there."""
    dialogue = rig["mara"].dialogue
    chat_format, segments = dialogue.chat_format, dialogue.ledger.segments
    pieces = {Kind.OPEN: chat_format.open, Kind.CLOSE: chat_format.close, Kind.END: chat_format.end}
    persona = dialogue.card.persona(user="Player").strip()
    assert [
        t for s in segments if s.kind is Kind.PERSONA for t in s.tokens
    ] == chat_format.beginning(persona)[0]
    for s in segments:
        if s.kind in pieces:
            assert s.tokens == pieces[s.kind]
        elif s.kind is not Kind.PERSONA:
            assert START not in s.tokens
            dash = CUT_OFF if s.cut_off else ""
            assert bytes(s.tokens).decode() == s.text + dash
    kinds = [s.kind for s in segments]
    first = kinds[kinds.count(Kind.PERSONA)]
    assert (first is Kind.OPEN) != chat_format.pieces.joined


@pytest.mark.parametrize("template", [BARS, FOLDED, ONLY_SYSTEM])
@pytest.mark.parametrize("how", ["payload", "tokens", "journal"])
def test_a_save_is_told_anew_in_the_new_markup(make_rig: MakeRig, how: str, template: str) -> None:
    old = make_rig(save_kv="no" if how == "tokens" else "yes")
    if how == "journal":
        old.spawn("mara", card={"name": "Mara", "system_prompt": "Keeps the inn."})
        old.save("s", mode="journal")
        old.ask(m.Despawn(id=old.id(), npc="mara"))
        live(old)
        old.save("s", ["mara"], mode="journal")
        old.event("Rain.", ["mara"])
        old.rest()
    else:
        live(old)
        old.save("s")
    was = told(old)
    assert sum(cut for *_, cut, _ in was) == 1
    rig = make_rig(template)
    loaded = rig.load("s", ["mara"]).npcs[0]
    assert loaded.source == "tokens"
    assert "another chat template" in (loaded.notice or "")
    assert told(rig) == was
    check_markup(rig)
    before = rig["mara"].dialogue.turn
    assert rig.talk("mara", "And now?").turn == before
    rig.rest()
    check_markup(rig)


def test_saved_again_it_is_at_home_in_the_new_markup(make_rig: MakeRig) -> None:
    old = make_rig()
    live(old)
    old.save("s")
    was = told(old)
    old.engine._saving._files.store.close()  # the lock of the folder
    new = make_rig(BARS, save_kv="yes")
    restored = new.spawn(
        "mara",
        card={"name": "Mara", "system_prompt": "Keeps the inn.", "first_mes": "Hm?"},
        restore="s",
    )
    assert "another chat template" in (restored.notice or "")
    check_markup(new)
    new.rest()
    new.save("s", ["mara"])
    again = make_rig(BARS)
    loaded = again.load("s", ["mara"]).npcs[0]
    assert (loaded.source, loaded.notice) == ("payload", None)
    assert told(again) == was
    back = make_rig()
    assert "another chat template" in back.load("s", ["mara"]).npcs[0].notice
    assert told(back) == was
    check_markup(back)


@pytest.mark.parametrize("template", [None, BARS, FOLDED])
def test_a_save_that_does_not_say_its_markup(
    make_rig: MakeRig, tmp_path: Path, template: str | None
) -> None:
    """As versions before 1.2 have written it."""
    old = make_rig(save_kv="yes")
    live(old)
    old.save("s")
    was = told(old)
    file = tmp_path / "s" / "mara.npc"
    key = old.engine._saving._files.key
    found = decode(file.read_bytes(), key)
    del found.header["markup"]
    file.write_bytes(encode(found.header, found.state, found.payload, key))
    rig = make_rig(template)
    loaded = rig.load("s", ["mara"]).npcs[0]
    assert (loaded.source == "payload") == (template is None)
    assert ("another chat template" in (loaded.notice or "")) == (template is not None)
    assert told(rig) == was
    if template:
        check_markup(rig)
