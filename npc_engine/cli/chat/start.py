"""How a talk begins: which engine, which characters, who comes first.

Owns the choices behind `npc-engine chat` and `npc-engine demo`. It knows the client and the
sidecar, and nothing of how a talk goes on.
"""

import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from npc_engine.cards.card import Card
from npc_engine.cards.examples import example_card, example_names
from npc_engine.cli.chat import loop
from npc_engine.cli.chat.script import play
from npc_engine.cli.chat.talk import Talk
from npc_engine.cli.terminal import Screen, open_screen
from npc_engine.client.sidecar import Sidecar
from npc_engine.client.zmq_client import Client
from npc_engine.config import Settings
from npc_engine.errors import ConfigError, ModelError
from npc_engine.llama.model_file import fitted
from npc_engine.storage.signing_key import data_folder

__all__ = ["chat", "demo"]

# `make setup` fetches it; beside it stands what it was requantized to, where that is faster.
DEMO_MODEL = Path("models", "SmolLM2-135M-Instruct.Q4_1.gguf")
DEMO_MAX_TOKENS = 60  # the scripted talk should not take long
FIRST = "mara"


def chat(
    settings: Settings, own: Sequence[str], endpoint: str | None, card: str | None, slot: str
) -> int:
    """Talk with a character until the player leaves; return the exit status.

    With a model in the settings an engine is started, `own` being its further flags; else
    `endpoint` is one that runs already. `card` is a file or an example's name.
    """
    if endpoint and settings.model:
        raise ConfigError(
            f"Both an endpoint, {endpoint!r}, and a model, {settings.model!r}, are given.",
            "Give the endpoint of an engine that runs, or a model to start one with.",
        )
    screen = open_screen()
    cast, npc = _with_card(_examples(), card) if card else (_examples(), "")
    with (
        _started(screen, settings.model, own)
        if settings.model
        else Client(endpoint or settings.bind, token=settings.token or None, name="chat")
    ) as client:
        if own and not settings.model:
            ignored = ", ".join(flag.partition("=")[0] for flag in own)
            screen.note(f"Ignored, since this engine runs already: {ignored}.")
        if card and card != npc and any(info.npc == npc for info in client.list_npcs()):
            screen.note(f"{cast[npc].char} is here already and keeps the card from before.")
        saves = Path(settings.saves).absolute() if settings.model else None
        talk = Talk(client, screen, cast, slot, saves)
        return loop.run(talk, npc or _first_npc(client))


def demo(settings: Settings, own: Sequence[str], *, scripted: bool) -> int:
    """Talk with our own characters, or let a scripted talk play; return the exit status.

    `own` are further flags for the engine; they win over what the demo chooses.
    """
    model = settings.model or _demo_model()
    screen = open_screen()
    if scripted:
        screen.note("No terminal: playing a scripted talk.")
    with _saves(scripted) as saves:
        flags = [f"--saves={saves}"] + [f"--max-tokens={DEMO_MAX_TOKENS}"] * scripted
        with _started(screen, model, [*flags, *own]) as client:
            if scripted:
                return play(Talk(client, screen, _examples()), FIRST)
            chosen = any(flag.startswith("--saves=") for flag in own)
            kept = Path(settings.saves).absolute() if chosen else saves
            return loop.run(Talk(client, screen, _examples(), saves=kept), FIRST)


@contextmanager
def _started(screen: Screen, model: str, args: Sequence[str]) -> Iterator[Client]:
    """Start an engine of our own with `npc-engine serve` flags `args`; it ends with the talk."""
    if not _is_file(model):
        raise ModelError(f"There is no model file {model!r}.", "Check the path.")
    # In a frozen build the program is itself the engine.
    program = sys.executable if getattr(sys, "frozen", False) else None
    with screen.waiting(f"Loading {Path(model).name} ..."):
        sidecar = Sidecar(model, *args, executable=program)
    with sidecar, sidecar.client(name="chat") as client:
        for row in sidecar.log:
            if " WARNING " in row:
                screen.note(row)
        yield client


@contextmanager
def _saves(scripted: bool) -> Iterator[Path]:
    """Give the folder of the demo's saves; those of a scripted talk are gone with it."""
    if not scripted:
        yield data_folder() / "demo-saves"
        return
    # Windows may still hold a file that the engine wrote a moment ago.
    with tempfile.TemporaryDirectory(prefix="npc-engine-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # the name is too long for any file
        return False


def _examples() -> dict[str, Card]:
    return {name: example_card(name) for name in example_names()}


def _with_card(cast: dict[str, Card], chosen: str) -> tuple[dict[str, Card], str]:
    """Return the cast with a card of the player's choice, and the name of its character."""
    if chosen in cast:
        return cast, chosen
    card = Card.load(chosen)
    npc = re.sub(r"[^A-Za-z0-9_-]+", "-", card.char).strip("-").lower()[:64] or "npc"
    return cast | {npc: card}, npc


def _first_npc(client: Client) -> str:
    """Return who talks when the player did not say: somebody who is there, else an example."""
    return next((info.npc for info in client.list_npcs()), FIRST)


def _demo_model() -> str:
    if not DEMO_MODEL.is_file():
        raise ModelError(
            f"There is no model {DEMO_MODEL.as_posix()!r} in {str(Path.cwd())!r}.",
            "Run `make setup`, which fetches it, or say which: npc-engine demo --model q4.gguf",
        )
    made = fitted(DEMO_MODEL)
    return str(made if made.is_file() else DEMO_MODEL)
