"""save, load and spawn with restore: what comes back is who was saved, and nobody is disturbed."""

import threading
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from npc_engine import protocol as m
from npc_engine.client.in_process import Engine
from npc_engine.errors import SnapshotError
from npc_engine.kvcache.ledger import Kind
from npc_engine.saving.copying import LINE_TOKENS, MOST_READING_S
from npc_engine.saving.saving import POLL_S
from npc_engine.storage.signing_key import installation_key
from npc_engine.storage.snapshot import decode
from npc_engine.storage.store import Store
from tests.support.fake_llama import END, FakeLlama, babble
from tests.support.rig import CARD, GAME, MakeRig, Rig, TimedLlama, scripted

pytestmark = pytest.mark.usefixtures("no_fsync")


class Other(TimedLlama):
    """A backend that differs in one fact."""

    fact: Mapping[str, Any]

    @property
    def about(self) -> dict[str, Any]:
        return {**super().about, **self.fact}


def other(**fact: Any) -> Other:
    fake = Other()
    fake.fact = fact
    return fake


def cast(rig: Rig) -> None:
    """Four characters with something to remember, two of them parked."""
    for name in "abcd":
        rig.spawn(name, card={"name": name.upper(), "system_prompt": f"Lives at {name}."})
    for turn in range(2):
        for name in "abcd":
            rig.event(f"Bell {turn} at {name}.", [name])
            rig.talk(name, f"Turn {turn}, {name}.")
    rig.event("A dog barks.", ["a", "c"])
    rig.rest()


def sources(loaded: Any) -> dict[str, str]:
    assert isinstance(loaded, m.Loaded), loaded
    return {npc.npc: npc.source for npc in loaded.npcs}


def outline(rig: Rig, name: str) -> list[Any]:
    return [(s.kind, s.text, s.turn, s.pinned) for s in rig[name].dialogue.ledger.segments]


def talks(rig: Rig, turns: int = 3) -> list[str]:
    out = []
    for turn in range(turns):
        ids = [rig.say(name, f"And {turn}?") for name in "abcd"]
        out += [rig.until(i).text for i in ids]
    return out


# Restored == continued


def test_what_is_restored_goes_on_as_it_would_have(make_rig: MakeRig) -> None:
    rig = make_rig(fake=TimedLlama(n_slots=2))
    cast(rig)
    saved = rig.save("tavern")
    assert isinstance(saved, m.Saved), saved
    assert (saved.slot, saved.npcs) == ("tavern", ["a", "b", "c", "d"])
    assert saved.n_bytes > 1000
    assert saved.ms >= 0
    before = {name: rig.tokens(name) for name in "abcd"}
    rest = talks(rig)

    fresh = make_rig(fake=TimedLlama(n_slots=2))
    assert sources(fresh.load("tavern")) == dict.fromkeys("abcd", "payload")
    assert {name: fresh.tokens(name) for name in "abcd"} == before
    assert talks(fresh) == rest
    for name in "abcd":
        assert fresh.tokens(name) == rig.tokens(name)
        assert [s.seed for s in fresh.fake.samplers] == [s.seed for s in rig.fake.samplers[-12:]]
        assert fresh.fake.samplers[0].recent == rig.fake.samplers[-12].recent

    again = make_rig(fake=TimedLlama(n_slots=4, layout="split"))
    assert sources(again.load("tavern")) == dict.fromkeys("abcd", "tokens")
    assert talks(again) == rest


def test_a_payload_costs_no_reading(make_rig: MakeRig) -> None:
    rig = make_rig()
    cast(rig)
    n_cells = {name: rig[name].dialogue.ledger.n_cells for name in "abcd"}
    rig.save("s")
    fresh = make_rig()
    fresh.load("s")
    for name in "abcd":
        assert fresh.talk(name).stats.n_cached == n_cells[name]


def test_a_save_restored_twice_over_an_overflow(make_rig: MakeRig) -> None:
    """Holes, evicted turns and a renumbered ledger survive."""
    keys: dict[str, Any] = {"window": 256}
    rig = make_rig(fake=TimedLlama(n_cells=256, n_pos=600), **keys)
    rig.spawn("a")
    for turn in range(9):
        rig.talk("a", f"Turn {turn}. " * 4)
    rig.save("s")
    rest = [rig.talk("a", f"Then {i}? " * 4).text for i in range(8)]
    fresh = make_rig(fake=TimedLlama(n_cells=256, n_pos=600), **keys)
    assert sources(fresh.load("s")) == {"a": "payload"}
    fresh.save("s")
    third = make_rig(fake=TimedLlama(n_cells=256, n_pos=600), **keys)
    assert sources(third.load("s")) == {"a": "payload"}
    for one in (fresh, third):
        assert [one.talk("a", f"Then {i}? " * 4).text for i in range(8)] == rest
        assert one["a"].dialogue.ledger.n_evicted == rig["a"].dialogue.ledger.n_evicted


def test_counts_and_the_card_come_back(make_rig: MakeRig) -> None:
    rig = make_rig()
    card = {"name": "Mara", "system_prompt": "Brief.", "extensions": {"hat": "red"}}
    rig.spawn("a", card=card, sampling={"temperature": 0, "seed": 5, "stop": ["X"]}, window=300)
    rig.talk("a")
    rig.save("s")
    fresh = make_rig()
    fresh.load("s")
    ours, theirs = fresh["a"].dialogue, rig["a"].dialogue
    assert ours.card.to_map() == theirs.card.to_map()
    assert (ours.sampling, ours.turn) == (theirs.sampling, theirs.turn)
    assert ours.ledger.window == 300


# Who is saved


def test_a_list_of_names_replaces_only_these(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = make_rig()
    cast(rig)
    rig.save("s")
    rig.talk("a", "A word with a.")
    rig.talk("b", "A word with b.")
    saved = rig.save("s", ["b", "b"])
    assert saved.npcs == ["b"]
    fresh = make_rig()
    assert sorted(sources(fresh.load("s"))) == ["a", "b", "c", "d"]
    assert "A word with a." not in fresh.heard("a")
    assert "A word with b." in fresh.heard("b")
    rig.ask(m.Despawn(id="d", npc="c"))
    rig.save("s")
    assert sorted(sources(make_rig().load("s"))) == ["a", "b", "d"]


def test_nobody_to_save(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = make_rig()
    for request in (m.Save(id="1", slot="s"), m.Save(id="2", slot="s", npcs=[])):
        error = rig.ask(request)
        assert error.code == "unknown_npc"
        assert error.help
    assert list(tmp_path.iterdir()) == []


def test_whoever_leaves_after_a_save_is_in_it(make_rig: MakeRig) -> None:
    rig = make_rig()
    cast(rig)
    save = rig.send(m.Save(id="s", slot="new"))
    rig.say("a", "Never said.")
    for name in "abcd":
        rig.send(m.Despawn(id=f"d{name}", npc=name))
    assert rig.until(save).npcs == ["a", "b", "c", "d"]
    assert len(sources(make_rig().load("new"))) == 4


def test_whoever_is_replaced_after_a_save_is_in_it(make_rig: MakeRig) -> None:
    rig = make_rig()
    cast(rig)
    rig.save("old")
    rig.talk("d", "News for d.")
    save = rig.send(m.Save(id="s", slot="new"))
    rig.load("old")
    rig.until(save)
    assert "News" not in rig.heard("d")
    fresh = make_rig()
    fresh.load("new")
    assert "News for d." in fresh.heard("d")


def test_load_takes_some_of_a_slot(make_rig: MakeRig) -> None:
    rig = make_rig()
    cast(rig)
    rig.save("s")
    fresh = make_rig()
    assert sources(fresh.load("s", ["c", "a"])) == {"a": "payload", "c": "payload"}
    assert set(fresh.engine.stage.characters) == {"a", "c"}
    assert sources(fresh.load("s", [])) == {}


def test_load_is_all_or_nothing(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = make_rig(max_npcs=4)
    cast(rig)
    rig.save("s")
    rig.talk("a", "Later.")
    error = rig.load("s", ["a", "nobody"])
    assert (error.code, error.help != "") == ("bad_snapshot", True)
    assert "'nobody'" in error.message
    file = tmp_path / "s" / "c.npc"
    data = bytearray(file.read_bytes())
    data[len(data) // 8] ^= 0x55
    file.write_bytes(bytes(data))
    error = rig.load("s")
    assert error.code == "bad_snapshot"
    assert "c.npc" in error.message
    assert "Later." in rig.heard("a")
    assert sources(rig.load("s", ["a"])) == {"a": "payload"}
    assert "Later." not in rig.heard("a")
    crowd = make_rig(max_npcs=3)
    error = crowd.load("s", ["a", "b"])
    assert isinstance(error, m.Loaded)
    file.write_bytes((tmp_path / "s" / "d.npc").read_bytes())
    assert "'d'" in crowd.load("s", ["c"]).message
    crowd.spawn("x")
    error = crowd.load("s", ["d"])
    assert error.code == "busy"
    assert set(crowd.engine.stage.characters) == {"a", "b", "x"}


def test_spawn_with_restore(make_rig: MakeRig) -> None:
    rig = make_rig()
    cast(rig)
    rig.save("s")
    fresh = make_rig()
    card = {"name": "A", "system_prompt": "Lives at a."}
    spawned = fresh.spawn("a", card=card, restore="s")
    assert (spawned.restored, spawned.greeting, spawned.notice) == (True, "", None)
    assert (
        spawned.n_pinned == fresh["a"].dialogue.ledger.n_pinned == rig["a"].dialogue.ledger.n_pinned
    )
    assert fresh["a"].dialogue.card.name == "A"
    assert fresh.talk("a", "And?").text == rig.talk("a", "And?").text
    spawned = fresh.spawn("z", card={"name": "Zed", "first_mes": "Hi."}, restore="s")
    assert (spawned.restored, spawned.greeting) == (False, "Hi.")
    assert spawned.notice is not None
    assert "'z'" in spawned.notice


# What does not fit


@pytest.mark.parametrize(
    ("fact", "word"),
    [
        ({"fingerprint": "other"}, "model"),
        ({"layout": "split"}, "layout"),
        ({"llama": "9"}, "build"),
        ({"vocab": "other"}, "texts"),
    ],
)
def test_another_engine_reads_the_tokens_again_and_says_why(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, fact: dict[str, str], word: str
) -> None:
    rig = make_rig()
    cast(rig)
    rig.save("s")
    fresh = make_rig(fake=other(**fact))
    monkeypatch.setattr(fresh.fake, "restore", None)  # it may not even be tried
    loaded = fresh.load("s")
    assert sources(loaded) == dict.fromkeys("abcd", "tokens")
    assert all(word in npc.notice for npc in loaded.npcs)
    for name in "abcd":
        assert outline(fresh, name) == outline(rig, name)
        assert fresh[name].dialogue.turn == rig[name].dialogue.turn
        assert fresh.tokens(name) == rig.tokens(name) or "vocab" in fact
    assert talks(fresh) == talks(rig) or "vocab" in fact


def test_a_foreign_or_damaged_payload_is_read_again(
    make_rig: MakeRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    cast(rig)
    rig.save("s")
    file = tmp_path / "s" / "a.npc"
    data = bytearray(file.read_bytes())
    data[-120] ^= 0x55
    file.write_bytes(bytes(data))
    loaded = make_rig().load("s")
    assert sources(loaded) == {"a": "tokens", **dict.fromkeys("bcd", "payload")}
    assert "damaged" in (loaded.npcs[0].notice or "")
    monkeypatch.setattr("npc_engine.saving.files.installation_key", lambda: b"k" * 32)
    foreign = make_rig()
    loaded = foreign.load("s")
    assert sources(loaded) == dict.fromkeys("abcd", "tokens")
    assert "installation" in (loaded.npcs[1].notice or "")
    assert talks(foreign) == talks(rig)


def test_a_smaller_window(make_rig: MakeRig) -> None:
    rig = make_rig()
    cast(rig)
    rig.save("s")
    small = make_rig(window=180, fake=TimedLlama(n_cells=180))
    assert len(sources(small.load("s"))) == 4
    for name in "abcd":
        ledger = small[name].dialogue.ledger
        assert ledger.window == 180
        assert ledger.n_tokens <= 180
        assert small.tokens(name)[: ledger.n_pinned] == rig.tokens(name)[: ledger.n_pinned]
    talks(small)


def test_a_payload_that_a_slot_has_no_room_for_is_said_to_be_read_again(
    make_rig: MakeRig,
) -> None:
    rig = make_rig()
    cast(rig)
    n_cells = {name: len(rig.tokens(name)) for name in "abcd"}
    rig.save("s")
    for room in (180, max(n_cells.values()), min(n_cells.values()), 400):
        small = make_rig(window=min(room, 180), fake=TimedLlama(n_cells=room))
        refused: list[int] = []
        restore = small.fake.restore

        def note(slot: int, payload: bytes) -> bool:
            taken = restore(slot, payload)  # noqa: B023
            refused.extend([slot] * (not taken))  # noqa: B023
            return taken

        small.fake.restore = note  # type: ignore[method-assign]
        loaded = small.load("s")
        for npc in loaded.npcs:
            fits = n_cells[npc.npc] <= room
            assert npc.source == ("payload" if fits else "tokens")
            why = f"has {n_cells[npc.npc]} cells, and a slot of this engine has {room}"
            assert fits or why in (npc.notice or "")
        talks(small)
        assert refused == [], "it was called a payload, and read again later"


@pytest.mark.model
def test_a_real_slot_that_is_too_small(tiny_model: Path, tmp_path: Path) -> None:
    """What is said to come back from the payload is not read again, with any kind of memory."""
    keys: dict[str, Any] = {
        "slots": 1,
        "kv_type": "f16",
        "flash_attn": "off",
        "threads": 1,
        "saves": str(tmp_path),
        "save_kv": "yes",
    }
    with Engine.open(tiny_model, window=768, **keys) as engine:
        engine.spawn("a", CARD)
        for i in range(8):
            engine.say("a", f"Question {i}: who came over the bridge?", max_tokens=24).wait()
        n_cells = engine.core.stage.characters["a"].dialogue.ledger.n_cells
        assert 256 < n_cells <= 512
        engine.save("s")
    for window, is_small in ((512, False), (256, True)):
        with Engine.open(tiny_model, window=window, **keys) as engine:
            (npc,) = engine.load("s").npcs
            assert npc.source == (
                "tokens" if is_small and "mamba" not in tiny_model.name else "payload"
            )
            n_pending = engine.core.stage.characters["a"].dialogue.ledger.n_pending
            n_read = engine.stats()["n_prefilled"]
            engine.attend("a")
            while engine.core.patience() == 0:
                engine.poll()
            n_read = engine.stats()["n_prefilled"] - n_read
            assert npc.source == "tokens" or n_read == n_pending == 0


def waiting_events(rig: Rig, n: int) -> None:
    """Events that nobody has taken in yet: she is speaking."""
    rig.spawn("a")
    rig.say("a", "Hm?", max_tokens=200)
    rig.steps(3)
    assert rig["a"].generation
    for i in range(n):
        rig.event(f"Bell {i}.", npcs=["a"], importance=1.0 if i == 2 else 0.5)


@pytest.mark.parametrize(
    ("saves", "loads", "kept"),
    [
        (400, 400, 400),
        (400, 300, 300),
        (400, 3, 3),
        (8, 400, 8),
        (8, 3, 3),
    ],
)
def test_the_limit_of_events_that_is_in_force_counts(
    make_rig: MakeRig, saves: int, loads: int, kept: int
) -> None:
    rig = make_rig(max_events=saves, window=16_000, fake=TimedLlama(n_cells=16_000))
    waiting_events(rig, 500)
    rig.save("s")
    fresh = make_rig(max_events=loads, window=16_000, fake=TimedLlama(n_cells=16_000))
    fresh.load("s")
    ledger = fresh["a"].dialogue.ledger
    told = [s.text for s in ledger.segments if s.kind == "event"]
    assert len(told) == kept
    assert told[-1] == "*Bell 499.*\n"
    assert "*Bell 2.*\n" in told, "long ago, and important"


def test_events_of_the_open_turn_keep_to_the_limit_too(make_rig: MakeRig) -> None:
    rig = make_rig(max_events=20)
    rig.spawn("a")
    for i in range(20):
        rig.event(f"Bell {i}.", npcs=["a"])
    rig.rest()
    rig.save("s")
    fresh = make_rig(max_events=5)
    fresh.load("s")
    told = [s.text for s in fresh["a"].dialogue.ledger.segments if s.kind == "event"]
    assert told == [f"*Bell {i}.*\n" for i in range(15, 20)]


def test_a_persona_that_does_not_fit_any_more(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.spawn("a", card={"name": "A", "system_prompt": "x" * 220})
    rig.save("s")
    for fake in (TimedLlama(n_cells=256), Other(n_cells=256)):
        if isinstance(fake, Other):
            fake.fact = {"vocab": "other"}
        small = make_rig(window=256, fake=fake)
        error = small.load("s")
        assert error.code in ("bad_snapshot", "too_large")
        assert error.help
        assert small.engine.stage.characters == {}


# With the KV cache, or without


@pytest.mark.parametrize("save_kv", ["no", "yes", "auto"])
def test_a_save_without_its_kv_cache_is_read_again_and_no_notice_is_due(
    make_rig: MakeRig, tmp_path: Path, save_kv: str
) -> None:
    fake = TimedLlama()
    rig = make_rig(fake=fake, save_kv=save_kv)
    fake.seconds = 0.001 if save_kv == "auto" else 9.0  # it takes no time, so it costs no bytes
    cast(rig)
    fake.seconds = 0.0
    rig.save("s")
    source = "payload" if save_kv == "yes" else "tokens"
    file = (tmp_path / "s" / "a.npc").read_bytes()
    assert (decode(file, installation_key()).payload is not None) == (save_kv == "yes")
    fresh = make_rig(save_kv=save_kv)
    loaded = fresh.load("s")
    assert sources(loaded) == dict.fromkeys("abcd", source)
    assert [npc.notice for npc in loaded.npcs] == [None] * 4
    assert talks(fresh) == talks(rig)
    card = {"name": "A", "system_prompt": "Lives at a."}
    spawned = make_rig(save_kv=save_kv).spawn("a", card=card, restore="s")
    assert (spawned.restored, spawned.notice) == (True, None)


def test_auto_keeps_what_takes_long_to_read(make_rig: MakeRig) -> None:
    fake = TimedLlama()
    fake.seconds = 0.3
    rig = make_rig(fake=fake)
    rig.spawn("long", card={"name": "Long", "system_prompt": "x" * 220})
    rig.rest()
    n_cells = rig["long"].dialogue.ledger.n_cells
    token_s = rig.engine.scheduler.reading_s(1) or 0.0
    assert token_s * n_cells > MOST_READING_S
    rig.save("s")
    assert sources(make_rig().load("s")) == {"long": "payload"}


def test_auto_keeps_what_nobody_knows_the_cost_of(make_rig: MakeRig) -> None:
    rig = make_rig(fake=TimedLlama(n_slots=2))
    cast(rig)  # its clock stands still
    rig.save("s")
    rig.close()
    fresh = make_rig(fake=TimedLlama(n_slots=2))
    fresh.load("s")
    fresh.save("t")  # nothing was read here
    fresh.close()
    loaded = make_rig(fake=TimedLlama(n_slots=2)).load("t")
    assert sources(loaded) == dict.fromkeys("abcd", "payload")


# While others speak


class SlowCopies(TimedLlama):
    """A step takes 40 ms, and so does copying a slot out."""

    seconds = 0.04
    copied: list[float]

    def export(self, slot: int) -> bytes:
        self.rig.now += self.seconds
        self.copied.append(self.rig.now)
        return super().export(slot)


def test_a_line_waits_for_one_copy_and_no_second(make_rig: MakeRig) -> None:
    fake = SlowCopies(mind=scripted("and so on ", end=False))
    fake.copied = []
    rig = make_rig(fake=fake, max_tokens=200, save_kv="yes")
    for name in "abcd":
        rig.spawn(name)
        rig.talk(name, max_tokens=2)
    rig.rest()
    fake.copied.clear()
    speaking = rig.say("a")
    rig.steps(3)
    save = rig.send(m.Save(id="s", slot="s"))
    for _ in range(150):
        if len(fake.copied) < 4:
            rig.step()
    assert (GAME, speaking) in rig.open
    rig.until(save)
    pauses = [late - early for early, late in pairwise(fake.copied)]
    assert len(pauses) == 3
    assert min(pauses) > LINE_TOKENS * SlowCopies.seconds


def test_nobody_speaks_and_all_are_copied_at_once(make_rig: MakeRig) -> None:
    fake = SlowCopies()
    fake.copied = []
    rig = make_rig(fake=fake, save_kv="yes")
    for name in "abcd":
        rig.spawn(name)
    rig.rest()
    fake.copied.clear()
    rig.save("s")
    assert max(late - early for early, late in pairwise(fake.copied)) < 2 * SlowCopies.seconds


def test_a_save_leaves_out_an_unfinished_turn_and_does_not_disturb_it(make_rig: MakeRig) -> None:
    def rambling() -> Rig:
        mind = lambda tokens: ord("e") if babble(tokens) == END else babble(tokens)  # noqa: E731
        rig = make_rig(fake=TimedLlama(n_slots=2, mind=mind), max_tokens=30)
        cast(rig)
        return rig

    rig, quiet = rambling(), rambling()
    before = {name: rig.tokens(name) for name in "abcd"}
    turns = {name: rig[name].dialogue.turn for name in "abcd"}
    ids = {name: rig.say(name, f"Unfinished, {name}?", priority="near") for name in "ab"}
    rig.steps(6)
    rig.event("A late bell.", ["a"])
    assert all(rig[name].generation for name in "ab")
    saved = rig.save("s")
    assert saved.npcs == ["a", "b", "c", "d"]
    undisturbed = {name: quiet.say(name, f"Unfinished, {name}?", priority="near") for name in "ab"}
    for name in "ab":
        assert rig.until(ids[name]).text == quiet.until(undisturbed[name]).text

    fresh = make_rig(fake=TimedLlama(n_slots=2), max_tokens=30)
    assert sources(fresh.load("s")) == dict.fromkeys("abcd", "payload")
    assert "Unfinished" not in "".join(fresh.heard(name) for name in "abcd")
    assert "A late bell." in fresh.heard("a")
    rest = {name: fresh.tokens(name)[len(before[name]) :] for name in "abcd"}
    opened = fresh.fake.chat_format().open
    assert rest == {"a": [*b"*A late bell.*\n"], "b": opened, "c": [], "d": []}
    assert all(fresh.tokens(name)[: len(before[name])] == before[name] for name in "abcd")
    assert {name: fresh[name].dialogue.turn for name in "abcd"} == turns
    twin = rambling()
    twin.event("A late bell.", ["a"])
    fresh.fake.mind = twin.fake.mind
    assert talks(fresh) == talks(twin)


def test_half_typed_words_are_not_saved(make_rig: MakeRig) -> None:
    rig = make_rig()
    cast(rig)
    before = rig.tokens("b")
    rig.hear("b", "Half a li")
    rig.rest()
    assert "Half a li" in rig.heard("b")
    rig.save("s")
    fresh = make_rig()
    assert sources(fresh.load("s"))["b"] == "payload"
    assert fresh.tokens("b") == before + fresh.fake.chat_format().open
    fresh.rest()
    fresh.talk("b")


def test_an_event_that_expires_while_it_waits_is_not_saved(make_rig: MakeRig) -> None:
    rig = make_rig()
    cast(rig)
    rig.fake.mind = scripted("A reply of many words, so that it takes its time.")
    target = rig.say("a")
    rig.steps(3)
    rig.event("A smell of smoke.", expires_s=5)
    rig.event("A bell.")
    rig.now += 6
    save = rig.send(m.Save(id="s", slot="s", npcs=["a"]))
    rig.step()
    assert (GAME, target) in rig.open
    rig.until(save)
    fresh = make_rig()
    fresh.load("s")
    assert "smoke" not in fresh.heard("a")
    assert "A bell." in fresh.heard("a")


def test_an_event_has_the_seconds_left_that_it_had_when_it_was_saved(make_rig: MakeRig) -> None:
    """Those it has perceived and those that wait; the time between save and load does not count."""
    rig = make_rig(fake=TimedLlama(mind=scripted("Words. ", end=False)))
    rig.spawn("a")
    rig.event("Smoke rises.", expires_s=60.0)
    rig.event("Rain falls.")
    rig.rest()
    say = rig.say("a", max_tokens=30)
    rig.steps(4)
    assert rig["a"].generation
    rig.event("A dog barks.", expires_s=30.0)
    rig.event("A bell tolls.")
    rig.now += 10.0
    rig.save("slot")
    rig.until(say)
    for seconds, there in ((19.5, "Smoke dog Rain bell"), (20.5, "Smoke Rain bell"),
                           (49.5, "Smoke Rain bell"), (50.5, "Rain bell")):  # fmt: skip
        rig.now += 1000.0
        rig.load("slot")
        rig.now += seconds
        rig.talk("a", max_tokens=3)
        heard = rig.heard("a")
        assert [w for w in ("Smoke", "dog", "Rain", "bell") if w in heard] == sorted(
            there.split(), key=["Smoke", "dog", "Rain", "bell"].index
        ), seconds


def test_seconds_that_are_left_pass_from_one_save_to_the_next(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.spawn("a")
    rig.event("Smoke rises.", expires_s=60.0)
    for _ in range(3):
        rig.now += 15.0
        rig.save("slot")
        rig.load("slot")
    rig.now += 14.0
    rig.rest()
    rig.save("slot")
    rig.load("slot")
    assert "Smoke" in rig.heard("a")
    rig.now += 2.0
    rig.talk("a", max_tokens=3)
    assert "Smoke" not in rig.heard("a")


def test_load_replaces_a_character_that_speaks(make_rig: MakeRig) -> None:
    rig = make_rig(fake=TimedLlama(mind=scripted("I shall be cut off.")))
    rig.spawn("a", card=CARD)
    rig.talk("a", "Known.")
    rig.save("s")
    speaking, waiting = rig.say("a", "One?"), rig.say("a", "Two?")
    rig.steps(6)
    loaded = rig.load("s")
    assert sources(loaded) == {"a": "payload"}
    assert rig.until(speaking).reason == "cancelled"
    assert rig.until(waiting).reason == "cancelled"
    assert "Known." in rig.heard("a")
    assert "One?" not in rig.heard("a")
    rig.talk("a")


# Files


def test_nothing_is_touched_before_the_first_save(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = make_rig(saves=str(tmp_path / "deep" / "saves"))
    cast(rig)
    assert rig.load("s").code == "unknown_slot"
    assert rig.ask(m.Spawn(id="x", npc="z", card=CARD, restore="s")).code == "unknown_slot"
    assert not (tmp_path / "deep").exists()
    assert isinstance(rig.save("s"), m.Saved)


def test_saves_before_are_slots_too(make_rig: MakeRig) -> None:
    rig = make_rig(keep=2)
    cast(rig)
    for turn in range(4):
        rig.talk("a", f"Save {turn}.")
        assert isinstance(rig.save("s"), m.Saved)
    error = rig.save("s.bak")
    assert error.code == "bad_snapshot" and "name for a backup" in error.message
    assert rig.load("s.bak3").code == "unknown_slot"
    for slot, last in (("s.bak2", 1), ("s.bak", 2), ("s", 3)):
        rig.load(slot)
        assert f"Save {last}." in rig.heard("a")
        assert f"Save {last + 1}." not in rig.heard("a")


def test_a_second_engine_cannot_save_until_the_first_is_closed(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npc_engine.storage.store.LOCK_WAIT_S", 0.0)
    first, second = make_rig(), make_rig()
    for rig in (first, second):
        cast(rig)
    assert isinstance(first.save("s"), m.Saved)
    assert sources(second.load("s"))
    error = second.save("t")
    assert error.code == "bad_snapshot" and "Another program" in error.message
    first.close()
    assert isinstance(second.save("t"), m.Saved)


class SlowDisk:
    """Holds every write until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.began = threading.Event()
        self._write = Store.write
        monkeypatch.setattr(Store, "write", lambda *args, **keys: self.write(*args, **keys))

    def write(self, *args: Any, **keys: Any) -> int:
        self.began.set()
        assert self.go.wait(20)
        return self._write(*args, **keys)


def test_a_slow_disk_holds_up_nobody(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SlowDisk(monkeypatch)
    rig = make_rig()
    cast(rig)
    one = rig.send(m.Save(id="1", slot="s"))
    two = rig.send(m.Save(id="2", slot="t", npcs=["a"]))
    assert rig.engine.patience() == 0
    rig.steps(6)
    assert disk.began.wait(20)
    assert rig.engine.patience() == POLL_S
    assert rig.talk("a", "After the save.").reason == "stop"
    assert {(b"game", one), (b"game", two)} <= rig.open
    rig.steps(3)
    assert rig.engine.patience() == POLL_S
    rig.now += 2
    disk.go.set()
    assert rig.until(one).ms == 2000
    assert rig.until(two).npcs == ["a"]
    rig.rest()
    fresh = make_rig()
    fresh.load("s")
    assert "After the save." not in fresh.heard("a")


def test_a_write_that_fails_is_answered(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make_rig()
    cast(rig)

    def fail(*args: Any, **keys: Any) -> int:
        raise SnapshotError("The disk is full.", "Free some space.")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", fail)
        error = rig.save("s")
    assert (error.code, error.message, error.help) == (
        "bad_snapshot",
        "The disk is full.",
        "Free some space.",
    )
    assert isinstance(rig.save("s"), m.Saved)


def test_a_copy_that_fails_is_answered(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make_rig()
    cast(rig)
    with monkeypatch.context() as patch:
        patch.setattr(FakeLlama, "export", _fail)
        ids = [rig.send(m.Save(id=i, slot="s")) for i in "12"]
        assert [rig.until(i).code for i in ids] == ["bad_snapshot"] * 2
    assert isinstance(rig.save("s"), m.Saved)


def _fail(*args: Any) -> bytes:
    raise SnapshotError("It cannot be copied.", "Try again.")


def test_close_finishes_what_is_being_saved(make_rig: MakeRig) -> None:
    rig = make_rig()
    cast(rig)
    speaking = rig.say("a", "Unfinished?")
    rig.steps(4)
    rig.event("A last bell.")
    saves = [rig.send(m.Save(id="1", slot="s")), rig.send(m.Save(id="2", slot="t"))]
    rig.close()
    assert [type(rig.records(i)[-1]) for i in (*saves, speaking)] == [m.Saved, m.Saved, m.Done]
    fresh = make_rig()
    assert len(sources(fresh.load("s"))) == 4
    assert all("A last bell." in fresh.heard(name) for name in "abcd")


def test_close_does_not_wait_for_ever(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npc_engine.engine.CLOSE_TIMEOUT_S", 0.05)
    disk = SlowDisk(monkeypatch)
    rig = make_rig()
    cast(rig)
    saves = [rig.send(m.Save(id="1", slot="s")), rig.send(m.Save(id="2", slot="t"))]
    rig.close()
    disk.go.set()
    for target in saves:
        error = rig.records(target)[-1]
        assert error.code == "bad_snapshot"
        assert error.help


def test_a_load_waits_for_the_save_of_its_slot(make_rig: MakeRig) -> None:
    rig = make_rig()
    cast(rig)
    rig.save("one")
    rig.talk("d", "News for d.")
    save = rig.send(m.Save(id="s", slot="one"))
    assert len(rig.load("one").npcs) == 4
    assert "News for d." in rig.heard("d")
    assert rig.until(save).npcs == ["a", "b", "c", "d"]


# A load that has to wait


def held_up(rig: Rig, slot: str, npcs: list[str] | None = None) -> str:
    """A save whose write is under way, and is held up by the disk."""
    save = rig.send(m.Save(id=f"save {slot}", slot=slot, npcs=npcs))
    rig.steps(5)
    assert (GAME, save) in rig.open
    return save


def test_a_load_waits_and_nobody_else(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make_rig()
    cast(rig)
    rig.save("other")
    rig.talk("d", "News for d.")
    disk = SlowDisk(monkeypatch)
    save = held_up(rig, "s")
    load = rig.send(m.Load(id="load", slot="s"))  # returns at once: the disk is still held
    rig.talk("d", "After the save.")
    assert rig.talk("b", "Do you hear me?").reason == "stop"
    assert {(GAME, save), (GAME, load)} <= rig.open
    rig.steps(3)
    assert rig.engine.patience() == POLL_S
    threading.Timer(0.3, disk.go.set).start()
    assert sources(rig.until(load)) == dict.fromkeys("abcd", "payload")
    assert "News for d." in rig.heard("d")
    assert "After the save." not in rig.heard("d")
    assert isinstance(rig.records(save)[-1], m.Saved)
    rig.rest()


def test_a_load_of_another_slot_waits_for_nobody(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    cast(rig)
    rig.save("other")
    disk = SlowDisk(monkeypatch)
    save = held_up(rig, "s")
    assert len(sources(rig.load("other"))) == 4
    assert (GAME, save) in rig.open
    disk.go.set()
    rig.until(save)


def test_a_spawn_with_restore_waits_and_nobody_else(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(max_npcs=4)
    cast(rig)
    rig.talk("a", "News for a.")
    disk = SlowDisk(monkeypatch)
    held_up(rig, "s")
    for name in "ad":
        rig.ask(m.Despawn(id=f"d{name}", npc=name))
    spawns = [rig.send(m.Spawn(id=i, npc=n, card=CARD, restore="s")) for i, n in ("1a", "2a", "3z")]
    rig.spawn("d")  # comes in the meantime, and takes a place
    assert rig.talk("b").reason == "stop"
    assert {(GAME, i) for i in spawns} <= rig.open
    disk.go.set()
    one, two, three = map(rig.until, spawns)
    assert (one.npc, one.restored) == ("a", True)
    assert "News for a." in rig.heard("a")
    assert two.code == "npc_exists"
    assert three.code == "busy"


def test_a_load_that_waits_is_answered_at_the_end(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npc_engine.engine.CLOSE_TIMEOUT_S", 0.05)
    rig = make_rig()
    cast(rig)
    disk = SlowDisk(monkeypatch)
    held_up(rig, "s")
    waiting = [
        rig.send(m.Load(id="load", slot="s")),
        rig.send(m.Spawn(id="spawn", npc="z", card=CARD, restore="s")),
    ]
    rig.close()
    disk.go.set()
    for target in waiting:
        (error,) = rig.records(target)
        assert (error.code, bool(error.help)) == ("bad_snapshot", True)
        assert "'s'" in error.message


def test_a_load_that_breaks_is_answered_and_no_other(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig()
    cast(rig)
    rig.save("fine")
    disk = SlowDisk(monkeypatch)
    save = held_up(rig, "s")
    bad = rig.send(m.Load(id="bad", slot="s"))
    read = Store.read

    def break_(self: Store, slot: str, npcs: Any = None) -> Any:
        if slot == "s":
            raise ZeroDivisionError("A bug.")
        return read(self, slot, npcs)

    monkeypatch.setattr(Store, "read", break_)
    disk.go.set()
    assert isinstance(rig.until(save), m.Saved)
    error = rig.until(bad)
    assert (error.code, bool(error.help)) == ("internal", True)
    assert "A bug." in caplog.text
    assert rig.load("s").code == "internal"
    assert len(sources(rig.load("fine"))) == 4


def test_a_copy_that_breaks_is_answered(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make_rig()
    cast(rig)
    with monkeypatch.context() as patch:
        patch.setattr("npc_engine.saving.copying.state_of", lambda *args: 1 / 0)
        ids = [rig.send(m.Save(id=i, slot="s")) for i in "12"]
        assert [rig.until(i).code for i in ids] == ["internal"] * 2
    assert isinstance(rig.save("s"), m.Saved)


def test_what_is_loaded_behind_a_save_is_read_without_a_further_message(tmp_path: Path) -> None:
    """The load waits until the save is written, while there is nothing else to do."""
    rig = Rig(tmp_path)
    rig.spawn("mara")
    rig.talk("mara")
    rig.rest()
    rig.event("A bell.")
    rig.engine.stage.claims()  # takes it in, and reads nothing of it
    rig.send(m.Save(id="save", slot="a"))
    rig.send(m.Load(id="load", slot="a"))
    rig.rest()
    assert not rig.open
    assert rig["mara"].dialogue.sequence.n_pending == 0
    rig.close()


def test_a_flood_of_huge_events_does_not_make_a_save_fail(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.spawn("mara")
    rig.rest()
    rig.say("mara", "Well?", max_tokens=200)
    for i in range(60):
        rig.event(f"{i} " + "\u00e9" * 500_000)
    assert isinstance(rig.save("s"), m.Saved)
    fresh = make_rig()
    assert isinstance(fresh.load("s"), m.Loaded)
    told = [s.text for s in fresh["mara"].dialogue.ledger.segments if s.kind is Kind.EVENT]
    assert told and told[-1].startswith("*59 ")
