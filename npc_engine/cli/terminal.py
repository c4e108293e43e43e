"""How a talk looks in a terminal: names, lines, gestures, status, questions to the player.

Owns colours, glyphs and widths, with rich. It knows no engine and no command; where there is no
terminal it writes the same plainly, one row each, in the order in which it comes.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from zlib import crc32

from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from npc_engine.cli import window_bars, window_picture
from npc_engine.errors import NpcError
from npc_engine.protocol import Done, NpcInfo, WindowReply

__all__ = ["Screen", "open_screen"]

NAME_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
BAR_CELLS = 12
INDENT = 2
FANCY = ("▓", "░", " · ", "…")
PLAIN = ("#", ".", " | ", "...")
WINDOW_STYLES = {
    "persona": "yellow",
    "pin": "magenta",
    "even": "blue",
    "odd": "cyan",
    "open": "green",
    "free": "dim",
    "hole": "dim",
    "used": "green",
    "unused": "dim",
    "mark": "bold red",
    "head": "bold",
    "note": "dim",
}
TOP_STYLES = {"speaks": "bold green", "waits": "yellow", "parked": "dim", "frozen": "dim"}
STYLES = WINDOW_STYLES | TOP_STYLES


class Screen:
    """Where a talk is shown. `ask` reads one row of the player and may raise EOFError."""

    def __init__(self, console: Console, ask: Callable[[str], str] = input) -> None:
        self._console = console
        self._ask = ask
        fits = _encodable("".join((*FANCY, *window_bars.FANCY)), console.encoding)
        self._full, self._empty, self._dot, self._more = FANCY if fits else PLAIN
        self._glyphs = window_bars.FANCY if fits else window_bars.PLAIN

    @property
    def is_live(self) -> bool:
        """Whether what is shown can be changed again: a terminal that is not a dumb one."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def ask(self) -> str:
        """Return what the player types; raises EOFError at the end, KeyboardInterrupt on Ctrl-C."""
        return self._ask("\n> ")

    def name(self, npc: str) -> None:
        """Head a reply with its speaker, in the same colour each time."""
        colour = NAME_COLOURS[crc32(npc.encode()) % len(NAME_COLOURS)]
        self._show(Text(npc, style=f"bold {colour}"), indent=0)

    def player(self, text: str) -> None:
        """Show what the player of a scripted talk says."""
        self._show(Text(f"\n> {text}", style="bold"), indent=0)

    def line(self, text: str) -> None:
        """Show a spoken sentence."""
        self._show(Text(text))

    def gesture(self, text: str) -> None:
        """Show a stage direction, set apart from what is spoken."""
        self._show(Text(f"~ {text} ~", style="italic dim"))

    @contextmanager
    def typing(self) -> Iterator[Callable[[str], None]]:
        """Give a function that shows the sentence that is not ended yet; it goes at the end."""
        if not self.is_live:
            yield lambda _text: None
            return
        waiting = self._unfinished("")
        with Live(
            waiting,
            console=self._console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live:
            yield lambda text: live.update(self._unfinished(text), refresh=True)

    def status(self, done: Done, npc: NpcInfo | None) -> None:
        """Show what the turn cost: speed, wait, and how full the character's window is."""
        parts = []
        if done.stats.decode_tps > 0:  # of one token there is no speed
            parts.append(f"{done.stats.decode_tps:.0f} tok/s")
        if done.stats.n_decoded:
            parts.append(f"first word after {done.stats.ttft_ms:.0f} ms")
        if npc is not None:
            bar = self._bar(npc.n_tokens, npc.n_window)
            parts.append(f"window {npc.n_tokens}/{npc.n_window} {bar}")
        if done.reason == "cancelled":
            parts.append("cut short")
        if done.reason == "length":
            parts.append("token limit")
        if done.truncated:
            parts.append("your message was too long and was cut")
        self._show(Text(self._dot.join(parts), style="dim"))

    def note(self, text: str) -> None:
        """Say something that no character says."""
        self._show(Text(text, style="dim"), indent=0)

    def rows(self, rows: Sequence[Sequence[str]]) -> None:
        """Show a small table."""
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self._show(Text("  ".join(cells).rstrip()))

    def windows(self, windows: Sequence[tuple[WindowReply, str]]) -> None:
        """Draw what characters have in their windows, each with its name."""
        self._console.print(self._pictures(windows))

    @contextmanager
    def watching(self) -> Iterator[Callable[[Sequence[tuple[WindowReply, str]]], None]]:
        """Give a function that draws windows, in the place of those before where that can be."""
        if not self.is_live:
            yield self.windows
            return
        with Live(console=self._console, auto_refresh=False) as live:
            yield lambda windows: live.update(self._pictures(windows), refresh=True)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return self._console.width, self._console.height

    @property
    def glyphs(self) -> window_bars.Glyphs:
        """What pictures are drawn with here."""
        return self._glyphs

    @contextmanager
    def frames(self) -> Iterator[Callable[[Sequence[window_bars.Row]], None]]:
        """Give a function that fills the whole screen with a picture; after it all is as before."""
        if not self.is_live:
            yield lambda rows: self._console.print(_picture(rows))
            return
        with Live(console=self._console, auto_refresh=False, screen=True) as live:
            yield lambda rows: live.update(_picture(rows), refresh=True)

    def problem(self, error: NpcError) -> None:
        """Show an error and what to do about it."""
        self._show(Text(str(error), style="red"), indent=0)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that something takes its time."""
        if not self.is_live:
            self.note(text)
            yield
            return
        with self._console.status(Text(text, style="dim")):
            yield

    def _pictures(self, windows: Sequence[tuple[WindowReply, str]]) -> Text:
        width = self._console.width
        rows: list[window_bars.Row] = [] if windows else [[("note", "Nobody is there.")]]
        for window, name in windows:
            picture = window_picture.draw(window, width, name=name, glyphs=self._glyphs)
            rows += [[], *picture] if rows else picture
        return _picture(rows)

    def _bar(self, used: int, window: int) -> str:
        full = min(BAR_CELLS, round(BAR_CELLS * used / max(window, 1)))
        return self._full * full + self._empty * (BAR_CELLS - full)

    def _unfinished(self, text: str) -> Padding:
        return Padding.indent(Text(text.strip() or self._more, style="dim"), INDENT)

    def _show(self, text: Text, indent: int = INDENT) -> None:
        if self._console.is_terminal:
            self._console.print(Padding.indent(text, indent) if indent else text)
        else:  # no width to wrap to: programs and logs read this
            self._console.print(Text(" " * indent) + text, soft_wrap=True)


def _picture(rows: Sequence[window_bars.Row]) -> Text:
    pieces = [[(text, STYLES.get(style, "")) for style, text in row] for row in rows]
    return Text("\n", no_wrap=True, overflow="crop").join(Text.assemble(*row) for row in pieces)


def open_screen() -> Screen:
    """Return the screen on standard output, with the keys of a shell where there are some."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, TextIOWrapper):
            # One wrong byte, or a letter that an old code page lacks, must not end a talk.
            stream.reconfigure(errors="replace")
    if sys.stdin is not None and sys.stdin.isatty():
        with suppress(ImportError):  # none on Windows, whose terminal has keys of its own
            import readline  # noqa: F401
    return Screen(Console(highlight=False, markup=False, emoji=False), _question())


def _question() -> Callable[[str], str]:
    """Return `input`, without its prompt where nobody sits at a keyboard."""
    if sys.stdin is not None and sys.stdin.isatty():
        return input
    return _next_row


def _next_row(_prompt: str) -> str:
    if sys.stdin is None:  # a program with windows and no console
        raise EOFError
    return input()


def _encodable(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
