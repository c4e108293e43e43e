"""A talk in the terminal, and the one that plays itself, against an engine that only pretends."""

import io
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from msgspec import structs
from rich.console import Console

from npc_engine import protocol as m
from npc_engine.cards.card import Card
from npc_engine.cli.chat import loop, script
from npc_engine.cli.chat.talk import Talk
from npc_engine.cli.terminal import Screen
from npc_engine.client.verbs import Verbs
from npc_engine.errors import Busy, ConnectionLost, SnapshotError, UnknownNpc
from tests.support.windows import segment, window

WINDOWS = {"mara": 2048, "bram": 512}
CAST = {
    "mara": Card("Mara Venn", nickname="Mara", first_mes="*nods* Come in. Sit down."),
    "bram": Card("Bram"),
}
Speech = list[m.Text | m.Line | m.Gesture]


class FakeEngine(Verbs):
    """Answers at once. `speech` is what every character says; `interrupt` comes after n records."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[m.Request] = []
        self.n_tokens: dict[str, int] = {}
        self.saved: dict[str, int] = {}
        self.speech: Callable[[str], Iterable[m.Reply]] = spoken
        self.interrupt: int | None = None
        self.interrupts_cancel = False
        self.gone = False
        self.forgetful = False
        self.refusal: Busy | None = None
        self.n_unread = 300
        self._ready: list[m.Reply] = []
        self._open: str | None = None

    def _send(self, request: m.Request, frame: bytes) -> None:
        if self.gone:
            raise ConnectionLost("The engine is gone.", "Start it.")
        self.sent.append(request)
        self._ready += getattr(self, f"_on_{type(request).__name__.lower()}")(request)

    def _receive(self, timeout: float) -> list[m.Reply]:
        if self.interrupt == 0:
            self.interrupt = None
            raise KeyboardInterrupt
        if not self._ready:
            return []
        if self.interrupt is not None:
            self.interrupt -= 1
        return [self._ready.pop(0)]

    def _on_spawn(self, r: m.Spawn) -> list[m.Reply]:
        self.n_tokens[r.npc] = 100
        greeting = Card.from_map(r.card).greeting()
        return [
            m.Spawned(
                id=r.id, npc=r.npc, n_pinned=100, n_shared=0, restored=False, greeting=greeting
            )
        ]

    def _on_say(self, r: m.Say) -> list[m.Reply]:
        if r.npc not in self.n_tokens:
            return [m.error_reply(UnknownNpc(f"No {r.npc!r}.", "Spawn it."), r.id)]
        self.n_tokens[r.npc] += 20
        records = [x for x in self.speech(r.id) if type(x).__name__.lower() in r.stream]
        if self.interrupt is not None:
            self._open = r.id
            return list(records)
        return [*records, done(r.id)]

    def _on_cancel(self, r: m.Cancel) -> list[m.Reply]:
        self._ready.clear()
        assert r.target == self._open
        if self.interrupts_cancel:
            self.interrupts_cancel, self.interrupt = False, 0
        return [m.Ok(id=r.id, cancelled=True), done(r.target, reason="cancelled")]

    def _on_event(self, r: m.Event) -> list[m.Reply]:
        if self.refusal:
            return [m.error_reply(self.refusal, r.id)]
        return [m.Ok(id=r.id, n_heard=len(self.n_tokens))]

    def _on_save(self, r: m.Save) -> list[m.Reply]:
        self.saved = dict(self.n_tokens)
        return [m.Saved(id=r.id, slot=r.slot, npcs=[*self.saved], n_bytes=2_500_000, ms=12.0)]

    def _on_load(self, r: m.Load) -> list[m.Reply]:
        if not self.forgetful:
            self.n_tokens |= self.saved
        npcs = [m.LoadedNpc(npc=npc, source="tokens", notice="read again") for npc in self.saved]
        return [m.Loaded(id=r.id, slot=r.slot, npcs=npcs, ms=3.0)]

    def _on_list(self, r: m.List) -> list[m.Reply]:
        npcs = [
            m.NpcInfo(
                npc=npc,
                name=CAST[npc].name if npc in CAST else npc.title(),
                state="resident",
                n_tokens=n_tokens,
                n_pinned=100,
                n_window=WINDOWS[npc],
                speaking=False,
            )
            for npc, n_tokens in self.n_tokens.items()
        ]
        return [m.Npcs(id=r.id, npcs=npcs)]

    def _on_window(self, r: m.Window) -> list[m.Reply]:
        if r.npc not in self.n_tokens:
            return [m.error_reply(UnknownNpc(f"No {r.npc!r}.", "Spawn it."), r.id)]
        said = segment("said", 1, self.n_tokens[r.npc] - 100, 100, text="Good evening.")
        segments = [segment("persona", 0, 100), said]
        return [structs.replace(window(segments, n_window=WINDOWS[r.npc]), id=r.id, npc=r.npc)]

    def _on_rewind(self, r: m.Rewind) -> list[m.Reply]:
        return [m.Rewound(id=r.id, npc=r.npc, turn=3, n_forgotten=min(r.turns or 0, 2))]

    def _on_transcript(self, r: m.Transcript) -> list[m.Reply]:
        fact = m.TranscriptTurn(
            turn=1,
            pinned=True,
            entries=[m.TranscriptEntry(kind="event", text="You owe Tom a sword.")],
        )
        talk = m.TranscriptTurn(
            turn=12,
            pinned=False,
            entries=[
                m.TranscriptEntry(kind="said", text="Good\n\x1b[2Jevening.", speaker="Pla\x1byer"),
                m.TranscriptEntry(kind="reply", text="[bold]Two coppers."),
            ],
        )
        turns = [fact, talk][-(r.last or 0) :]
        return [m.TranscriptReply(id=r.id, npc=r.npc, turns=turns, n_forgotten=10)]

    def _on_stats(self, r: m.Stats) -> list[m.Reply]:
        self.n_unread = max(0, self.n_unread - 150)
        return [m.StatsReply(id=r.id, stats={"n_pending_tokens": self.n_unread})]

    def asked(self, kind: type[m.Request]) -> list[m.Request]:
        return [request for request in self.sent if isinstance(request, kind)]


def spoken(request_id: str) -> Speech:
    return [
        m.Text(id=request_id, seq=0, npc="mara", text="*wipes a mug* Two coppers. Four"),
        m.Gesture(id=request_id, seq=1, npc="mara", text="wipes a mug"),
        m.Line(id=request_id, seq=2, npc="mara", index=0, text="Two coppers."),
        m.Text(id=request_id, seq=3, npc="mara", text=" with [bold]bread."),
        m.Line(id=request_id, seq=4, npc="mara", index=1, text="Four with [bold]bread."),
    ]


def done(request_id: str, reason: str = "stop") -> m.Done:
    stats = m.DoneStats(n_decoded=12, decode_tps=31.2, ttft_ms=84.0)
    return m.Done(
        id=request_id,
        npc="mara",
        text="Two coppers.",
        reason=reason,  # type: ignore[arg-type]
        truncated=False,
        stats=stats,
    )


class Player:
    """Types rows; what is an exception is raised."""

    def __init__(self, *rows: str | type[BaseException]) -> None:
        self._rows = iter(rows)

    def __call__(self, prompt: str) -> str:
        row = next(self._rows, EOFError)
        if isinstance(row, str):
            return row
        raise row


def talk(
    engine: Verbs, *rows: str | type[BaseException], terminal: bool = False, width: int = 80
) -> tuple[Talk, io.StringIO]:
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=terminal, width=width, highlight=False, markup=False, emoji=False
    )
    return Talk(engine, Screen(console, Player(*rows)), CAST), out


def play(engine: Verbs, *rows: str | type[BaseException]) -> str:
    it, out = talk(engine, *rows)
    assert loop.run(it, "mara") == 0
    return out.getvalue()


def test_a_character_comes_in_greets_and_answers() -> None:
    shown = play(FakeEngine(), "What does soup cost?")
    rows = [row for row in shown.splitlines() if row]
    assert rows[0] == "Mara is coming ..."
    assert rows[1:5] == ["Mara", "  ~ nods ~", "  Come in.", "  Sit down."]
    at = rows.index("Mara", 2)
    assert rows[at : at + 4] == [
        "Mara",
        "  ~ wipes a mug ~",
        "  Two coppers.",
        "  Four with [bold]bread.",
    ]
    assert rows[at + 4] == ("  31 tok/s · first word after 84 ms · window 120/2048 ▓░░░░░░░░░░░")


def test_one_who_is_there_already_is_not_spawned_again() -> None:
    engine = FakeEngine()
    engine.n_tokens["mara"] = 300
    assert "You talk with Mara. Say something, or /help." in play(engine, "Hello.")
    assert not engine.asked(m.Spawn)


def test_empty_rows_say_nothing() -> None:
    engine = FakeEngine()
    play(engine, "", "   ")
    assert not engine.asked(m.Say)


@pytest.mark.parametrize("leave", ["/quit", "/QUIT", "/exit", EOFError])
def test_leaving(leave: str | type[BaseException]) -> None:
    engine = FakeEngine()
    play(engine, leave, "never said")
    assert not engine.asked(m.Say)


def test_ctrl_c_at_the_prompt_explains_itself() -> None:
    engine = FakeEngine()
    assert "Ctrl-D" in play(engine, KeyboardInterrupt, "still here")
    assert len(engine.asked(m.Say)) == 1


@pytest.mark.parametrize(
    ("n_records", "n_heard"), [(0, 0), (1, 0), (2, len("Two coppers.")), (3, 34)]
)
def test_ctrl_c_cuts_short_at_what_was_shown(n_records: int, n_heard: int) -> None:
    engine = FakeEngine()
    it, out = talk(engine)
    it.meet("mara")
    engine.interrupt = n_records
    it.say("Tell me everything.")
    (cancel,) = engine.asked(m.Cancel)
    assert isinstance(cancel, m.Cancel)
    assert cancel.heard == n_heard
    assert "cut short" in out.getvalue()


def test_save_load_and_event() -> None:
    engine = FakeEngine()
    shown = play(engine, "/save", "/Save inn", "/LOAD inn", "/event The bell rings.")
    assert [s.slot for s in engine.asked(m.Save) if isinstance(s, m.Save)] == ["talk", "inn"]
    assert "Saved mara in slot 'inn': 2.5 MB in 12 ms." in shown
    assert "mara: read again" in shown
    (event,) = engine.asked(m.Event)
    assert isinstance(event, m.Event)
    assert (event.npcs, event.text) == ("*", "The bell rings.")
    assert "Noticed by 1 character" in shown


def test_a_save_tells_where_it_is() -> None:
    it, out = talk(FakeEngine(), "/save inn")
    it.saves = Path("demo-saves")
    loop.run(it, "mara")
    assert f"It is in {Path('demo-saves', 'inn')}" in out.getvalue()


def test_rewind_and_transcript() -> None:
    engine = FakeEngine()
    shown = play(engine, "/rewind", "/rewind 7", "/transcript", "/transcript 1")
    assert [r.turns for r in engine.asked(m.Rewind) if isinstance(r, m.Rewind)] == [1, 7]
    assert "Mara has forgotten 1 turn." in shown
    assert "Mara has forgotten 2 turns." in shown
    assert "Its window has lost 10 turns." in shown
    assert shown.count("1*           ~ You owe Tom a sword. ~") == 1
    assert shown.count("12  Pla yer  Good [2Jevening.") == 2
    assert shown.count("12  Mara     [bold]Two coppers.") == 2


@pytest.mark.parametrize("n", ["0", "two", "-1", "1.5", "\u00b2", "9" * 30])
def test_what_is_no_number_of_turns(n: str) -> None:
    engine = FakeEngine()
    shown = play(engine, f"/rewind {n}", f"/transcript {n}")
    assert shown.count(f"{n!r} is no number of turns.") == 2
    assert not engine.asked(m.Rewind)
    assert not engine.asked(m.Transcript)


def test_the_window_is_drawn() -> None:
    shown = play(FakeEngine(), "Good evening.", "/window", "/window Bram", "Hello.")
    rows = shown.splitlines()
    assert "Mara · turn 1 · resident" in rows
    at = next(i for i, row in enumerate(rows) if row.startswith("cells  "))
    assert rows[at][11:15] == "███░"
    assert "120 of 2,048 tokens. When it is full, old turns" in rows[at + 1]
    assert "No 'bram'. Spawn it." in shown
    assert [row.startswith("  31 tok/s") for row in rows].count(True) == 2


@pytest.mark.parametrize("colour", [True, False])
def test_the_window_in_a_terminal(colour: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    it, out = talk(FakeEngine(), terminal=True)
    it.meet("mara")
    it.window()
    assert ("\x1b[33m████" in out.getvalue()) == colour
    assert "████" in out.getvalue()


def test_a_window_that_is_watched_takes_the_place_of_the_one_before() -> None:
    engine = FakeEngine()
    for terminal in (True, False):
        it, out = talk(engine, terminal=terminal)
        it.meet("mara")
        out.seek(0)
        with it.screen.watching() as draw:
            for _ in range(2):
                draw([(engine.window("mara"), "Mara")])
        assert ("\x1b[2K" in out.getvalue()) == terminal
        assert out.getvalue().count("Mara · turn 1") == 2 + terminal


def test_who_lists_those_here_and_those_who_may_come() -> None:
    rows = play(FakeEngine(), "/who").splitlines()
    assert "  * mara  Mara Venn  resident, 100 of 2048 tokens" in rows
    assert "    bram  Bram       not here: /who bram" in rows


@pytest.mark.parametrize("name", ["bram", "BRAM", "Bram"])
def test_who_turns_to_somebody_who_comes_in(name: str) -> None:
    engine = FakeEngine()
    play(engine, f"/who {name}", "Good evening.")
    assert [s.npc for s in engine.asked(m.Say) if isinstance(s, m.Say)] == ["bram"]
    assert len(engine.asked(m.Spawn)) == 2


def test_who_turns_back_by_either_name() -> None:
    engine = FakeEngine()
    play(engine, "/who bram", "/who mara venn", "Hello.")
    assert [s.npc for s in engine.asked(m.Say) if isinstance(s, m.Say)] == ["mara"]


def test_who_knows_no_stranger() -> None:
    shown = play(FakeEngine(), "/who zed", "Hello.")
    assert "Nobody is called 'zed'. There are: bram, mara." in shown


def test_commands_that_are_wrong() -> None:
    engine = FakeEngine()
    shown = play(engine, "/dance", "/event", "/event   ")
    assert "There is no command /dance. /help lists them." in shown
    assert shown.count("Use it so: /event TEXT") == 2
    assert not engine.asked(m.Event)


def test_help_lists_every_command() -> None:
    shown = play(FakeEngine(), "/help")
    assert all(command.usage in shown for command in loop.COMMANDS.values())


def test_an_error_is_shown_and_the_talk_goes_on() -> None:
    engine = FakeEngine()
    engine.refusal = Busy("Too much.", "Wait.")
    it, out = talk(engine, "/event Rain.", "Hello.")
    assert loop.run(it, "mara") == 0
    assert "Too much. Wait." in out.getvalue()
    assert engine.asked(m.Say)


@pytest.mark.parametrize("name", ["my slot", "../../etc", ".hidden", "x" * 65, "schön"])
def test_a_name_that_no_save_can_have(name: str) -> None:
    engine = FakeEngine()
    shown = play(engine, f"/save {name}", f"/load {name}", "/save " + "x" * 64)
    assert shown.count(f"A save cannot be called {name!r}. Use up to 64 letters") == 2
    assert "digits and _ - ." in shown
    assert len(engine.asked(m.Save)) == 1
    assert not engine.asked(m.Load)


def test_a_second_ctrl_c_does_not_leave_the_talk() -> None:
    engine = FakeEngine()
    it, _ = talk(engine, "Are you still there?")
    it.meet("mara")
    engine.interrupt, engine.interrupts_cancel = 2, True
    try:
        it.say("Tell me everything.")
    except KeyboardInterrupt:
        pytest.fail("the second Ctrl-C left the talk")
    assert engine.asked(m.Cancel)
    assert loop.run(it, "mara") == 0
    assert len(engine.asked(m.Say)) == 2


def test_a_reply_cut_before_its_first_word_has_no_speed() -> None:
    engine = FakeEngine()
    it, out = talk(engine)
    it.meet("mara")
    cut = m.Done(
        id="1", npc="mara", text="", reason="cancelled", truncated=False, stats=m.DoneStats()
    )
    it.screen.status(cut, engine.list_npcs()[0])
    assert out.getvalue().splitlines()[-1] == "  window 100/2048 ▓░░░░░░░░░░░ · cut short"


def test_a_reply_that_hits_its_limit_says_so() -> None:
    it, out = talk(FakeEngine())
    it.screen.status(done("1", "length"), None)
    assert out.getvalue().splitlines()[-1].endswith("token limit")


def test_a_window_of_ones_own_is_what_is_shown() -> None:
    shown = play(FakeEngine(), "/who bram", "Hello.", "/who")
    assert "window 120/512 ▓▓▓" in shown
    assert "bram  Bram       resident, 120 of 512 tokens" in shown
    assert "mara  Mara Venn  resident, 100 of 2048 tokens" in shown


def test_a_dead_engine_ends_the_talk() -> None:
    engine = FakeEngine()

    def dies(_request_id: str) -> Speech:
        engine.gone = True
        return []

    engine.speech = dies
    it, out = talk(engine, "Hello.", "never said")
    assert loop.run(it, "mara") == 1
    assert "The engine is gone. Start it." in out.getvalue()


@pytest.mark.parametrize("width", [20, 80])
def test_a_terminal_sees_the_sentence_grow(width: int) -> None:
    engine = FakeEngine()
    it, out = talk(engine, "Hello.", terminal=True, width=width)
    assert loop.run(it, "mara") == 0
    (say,) = engine.asked(m.Say)
    assert isinstance(say, m.Say)
    assert say.stream == ["text", "line", "gesture"]
    shown = out.getvalue()
    grown = shown.index("Four\x1b")
    assert "\x1b[2K" in shown[grown:]  # and is wiped when it is whole
    assert shown.rindex("~ wipes a mug ~") < shown.rindex("Two coppers.")


def test_a_dumb_terminal_gets_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    engine = FakeEngine()
    it, out = talk(engine, "Hello.", terminal=True)
    assert loop.run(it, "mara") == 0
    assert "\x1b[2K" not in out.getvalue()
    assert "Two coppers." in out.getvalue()


def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    it, out = talk(FakeEngine(), "Hello.", terminal=True)
    assert loop.run(it, "mara") == 0
    assert "\x1b[36m" not in out.getvalue()


def test_an_old_code_page_gets_plain_glyphs() -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as file:
        screen = Screen(Console(file=file, highlight=False), Player("Hello."))
        assert loop.run(Talk(FakeEngine(), screen, CAST), "mara") == 0
        file.flush()
        assert b"window 120/2048 #..........." in raw.getvalue()


def test_an_old_code_page_gets_a_plain_window() -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as file:
        screen = Screen(Console(file=file, highlight=False))
        screen.windows([(window([segment("persona", 0, 100)]), "Mara")])
        file.flush()
        assert raw.getvalue().startswith(b"Mara | turn 1 | resident")


def test_the_demo_plays_its_script() -> None:
    engine = FakeEngine()
    it, out = talk(engine)
    assert script.play(it, "mara") == 0
    assert len(engine.asked(m.Say)) == 6
    assert [len(engine.asked(kind)) for kind in (m.Event, m.Save, m.Load)] == [1, 1, 1]
    shown = out.getvalue()
    assert shown.count("tok/s") == 6
    assert "The window holds 180 tokens again" in shown
    assert "(20 tokens) never happened" in shown
    order = [type(r) for r in engine.sent if isinstance(r, m.Say | m.Event | m.Save | m.Load)]
    kinds = [kind.__name__ for kind, _ in itertools.groupby(order)]
    assert kinds == ["Say", "Event", "Say", "Save", "Say", "Load", "Say"]
    assert "> /window\nMara · turn 1 · resident\n" in shown


def test_the_demo_fails_when_the_load_restores_nothing() -> None:
    engine = FakeEngine()
    engine.forgetful = True
    with pytest.raises(SnapshotError, match=r"200 tokens.*180"):
        script.play(talk(engine)[0], "mara")
