"""One dialogue over a FakeLlama: what its model has read, and how it answers."""

from collections.abc import Iterable

from npc_engine.cards.card import Card
from npc_engine.config import Sampling
from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.kvcache.ledger import Kind
from tests.support.fake_llama import BOS, END, START, FakeLlama

MARKUP = {BOS: b"<s>", START: b"<|im_start|>", END: b"<|im_end|>"}


BEGINNING = "<s><|im_start|>system\nBe Mara.<|im_end|>\n"


LETTER = dict(zip(Kind, "POESNCRD", strict=True))


THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


def make(
    fake: FakeLlama | None = None,
    *,
    persona: str = "Be Mara.",
    window: int = 600,
    n_pos: int = 100_000,
    template: str | None = None,
    slot: int | None = 0,
) -> Dialogue:
    fake = fake or FakeLlama(n_cells=window, n_pos=n_pos)
    card = Card(name="Mara", system_prompt=persona)
    chat_format = fake.chat_format(template)
    dialogue = Dialogue.create(
        "mara", card, chat_format, fake, sampling=Sampling(), window=window, n_pos=n_pos
    )
    if slot is not None:
        dialogue.sequence.take_slot(slot)
        read(dialogue)
    return dialogue


def fake_of(dialogue: Dialogue) -> FakeLlama:
    fake = dialogue.sequence._cache
    assert isinstance(fake, FakeLlama)
    return fake


def read(dialogue: Dialogue) -> None:
    """Decode all that is pending, as the engine does. The fake enforces cells and positions."""
    fake, ledger = fake_of(dialogue), dialogue.ledger
    while tokens := ledger.pending(fake.n_batch):
        fake.decode([(dialogue.sequence.slot, ledger.next_pos, tokens, True)])
        dialogue.sequence.commit(len(tokens))
    assert ledger.n_pending == 0


def as_text(tokens: Iterable[int]) -> str:
    return b"".join(MARKUP.get(t) or bytes([t]) for t in tokens).decode("utf-8", "backslashreplace")


def told(dialogue: Dialogue) -> str:
    """What the model has before its eyes."""
    read(dialogue)
    assert dialogue.sequence.slot is not None
    return as_text(fake_of(dialogue).held(dialogue.sequence.slot))


def speak(dialogue: Dialogue, text: str | bytes) -> None:
    for byte in text.encode() if isinstance(text, str) else text:
        dialogue.speak(byte)
        read(dialogue)


def answer(
    dialogue: Dialogue, text: str = "Aye.", kept: int | None = None, interrupted: bool = False
) -> str:
    """Say it whole, keep what is to be kept, and return what the model saw of the turn."""
    read(dialogue)
    speak(dialogue, text)
    n = len(text.encode()) if kept is None else kept
    dialogue.finish(text.encode()[:n].decode("utf-8", "ignore"), n, interrupted)
    return told(dialogue)


def kinds(segments: Iterable[object]) -> str:
    return "".join(LETTER[s.kind] for s in segments)  # type: ignore[attr-defined]
