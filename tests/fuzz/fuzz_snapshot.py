"""Coverage-guided fuzzing of save files (CONTRIBUTING.md has the command).

The invariant is `Victim.take`: a file is refused with a reason, or is a character that can speak;
no payload byte passes that no signature vouches for. Every other end is a crash, kept as a file.

The mutator works under the checksums: what libFuzzer changes of a header or a state is sealed
again, else no file would get beyond them.
"""

import random
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=[
        "npc_engine.storage.msgpack_bounds",
        "npc_engine.cards.card",
        "npc_engine.cards.fields",
        "npc_engine.storage.disk",
        "npc_engine.saving.restore.reviving",
        "npc_engine.saving.serialization",
        "npc_engine.kvcache.ledger",
        "npc_engine.dialogue.dialogue",
        "npc_engine.dialogue.pins",
        "npc_engine.saving.records",
        "npc_engine.saving.saving",
        "npc_engine.kvcache.sequence",
        "npc_engine.storage.slot_reader",
        "npc_engine.storage.snapshot",
        "npc_engine.storage.store",
    ]
):
    from tests.support.mutate import (
        FOREIGN,
        KEY,
        MUTATORS,
        UNREADABLE,
        Mutator,
        Save,
        saves,
        sealed,
        signed,
    )
    from tests.support.victim import Victim

TRUE_PAYLOADS: set[bytes] = set()


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """One mutation of a file: its bytes, under its checksums, or one of tests/support/mutate.py."""
    rng = random.Random(seed)
    try:
        save = Save.of(data)
    except UNREADABLE:
        return _changed(data, max_size)
    if save.payload not in TRUE_PAYLOADS:  # no such bytes were ever signed here
        save = replace(save, payload=b"")
    how = rng.random()
    if how < 0.2:
        return _changed(data, max_size)
    if how < 0.4:
        mutator, _ = rng.choice(MUTATORS)
        return _safely(mutator, rng, save, data)[:max_size]
    header, state = save.header, save.state
    room = max(1, max_size - len(data))
    if how < 0.5:
        header = _changed(header, len(header) + room)
    else:
        state = _changed(state, len(state) + room)
    if how < 0.7:
        return sealed(header, state)
    return signed(header, state, save.payload, KEY if how < 0.85 else FOREIGN)


def _changed(data: bytes, max_size: int) -> bytes:
    return bytes(atheris.Mutate(data, max_size))


def _safely(mutator: Mutator, rng: random.Random, save: Save, data: bytes) -> bytes:
    try:
        return mutator(rng, save)
    except UNREADABLE:  # made for true files; this one is a mutant already
        return data


def main() -> None:
    """Fuzz until told to stop. The corpus comes first, and true files stand in for an empty one."""
    folder = Path(tempfile.mkdtemp(prefix="npc-fuzz-"))
    seeds = folder / "seeds"
    seeds.mkdir()
    for i, save in enumerate(saves(folder / "true")):
        TRUE_PAYLOADS.add(save.payload)
        (seeds / f"{i}").write_bytes(save.data)
        (seeds / f"{i}-bare").write_bytes(sealed(save.header, save.state))
    victim = Victim(folder / "victim")
    given = sys.argv[1:]
    if not any(Path(arg).is_file() for arg in given):  # else these are run, and no more
        given.append(str(seeds))
    itself = f"{sys.executable} -m {__spec__.name}"  # which -merge=1 starts again, as a command

    def take(data: bytes) -> None:
        victim.take(data)

    atheris.Setup([itself, *given], take, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
