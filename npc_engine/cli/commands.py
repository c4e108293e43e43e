"""The command line `npc-engine`: it composes everything, and owns none of it.

Owns the subcommands, their help, exit statuses and how an error looks. Exit statuses: 0 done,
1 failed while running, 2 cannot start, 130 interrupted.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from npc_engine.cli import flags
from npc_engine.errors import NpcError, SetupError

__all__ = ["main"]

log = logging.getLogger("npc_engine")

ABOUT = """\
Characters for games: a small language model on the player's own machine, no cloud.
Each command explains itself: npc-engine serve --help
"""
SERVE = """\
Run the engine for games to connect to. It loads one GGUF model, prints the line
READY {"endpoint": ..., "model": ..., "protocol": 1} on stdout once clients are served, and
logs to stderr. Ctrl-C or SIGTERM: open requests are answered, and it ends within 2 s.
"""
SERVE_EXAMPLES = """\
examples:
  npc-engine serve --model q4.gguf
  npc-engine serve --model q4.gguf --bind tcp://127.0.0.1:0 --window 4096 --threads 4
  npc-engine serve --config engine.toml --log-level debug

Every flag is also a setting of the file of --config, by its name:
  model = "q4.gguf"
  window = 4096        # tokens
  step_ms = 30.0       # milliseconds
Flags win over the file. The token may also be in the environment: NPC_ENGINE_TOKEN.
"""
CHAT = """\
Talk with a character in the terminal. With --model an engine is started for the talk; without
it, ENDPOINT is an engine that runs already, with settings of its own. /help lists what you can
do; Ctrl-C cuts the character short, Ctrl-D leaves. Below each reply stand its speed in tokens
per second (tok/s), the wait for its first word in milliseconds (ms), and how many tokens of the
window the character has filled.
"""
CHAT_EXAMPLES = """\
examples:
  npc-engine chat --model q4.gguf --card mara
  npc-engine chat --model q4.gguf --card my-character.png --window 4096
  npc-engine chat tcp://127.0.0.1:5757
"""
DEMO = """\
Talk with our own characters in the terminal. Where no terminal is on stdin, it plays a talk of
six turns by itself, with an event, a save and a load (well under a minute), draws the
character's window, and ends with status 0 if all of that worked. Units as in chat: tokens per
second, ms, tokens of the window.
"""
DEMO_EXAMPLES = """\
examples:
  npc-engine demo
  npc-engine demo --model q4.gguf
  npc-engine demo --model q4.gguf < /dev/null
"""
TALK_SETTINGS = (
    "model",
    "window",
    "kv_type",
    "flash_attn",
    "rope_scaling",
    "rope_freq_scale",
    "n_gpu_layers",
    "threads",
    "nice",
    "max_tokens",
    "world",
    "saves",
    "log_level",
)
DEMO_DEFAULTS = {  # in words; `opening` chooses
    "model": "models/SmolLM2-135M-Instruct.Q4_1.gguf, which `make setup` fetches, or what it made "
    "of it for this CPU",
    "saves": "demo-saves in the user's data folder; a scripted talk keeps none",
}
NOT_PASSED_ON = ("model", "token", "log_level")  # used here, and not by the engine of a talk
Run = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Only argparse exits by itself."""
    argv = sys.argv[1:] if argv is None else argv
    debug = False
    try:
        if argv and argv[0] in _WITH_OWN_PARSER:
            return _WITH_OWN_PARSER[argv[0]][1](argv[1:])
        args = _parser().parse_args(argv)
        debug = getattr(args, "log_level", None) in ("trace", "debug")
        run: Run = args.run
        return run(args)
    except NpcError as error:
        return _failed(error, debug)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough: npc-engine doctor | head
        from npc_engine.server.serve import drop_stdout

        drop_stdout()
        return 1
    except Exception:
        log.exception("npc-engine failed; this is a bug in it")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="npc-engine",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"npc-engine {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_serve(_command(commands, "serve", "run the engine", SERVE, SERVE_EXAMPLES, _serve))
    _add_chat(_command(commands, "chat", "talk in the terminal", CHAT, CHAT_EXAMPLES, _chat))
    _add_demo(_command(commands, "demo", "meet our characters", DEMO, DEMO_EXAMPLES, _demo))
    for name, (summary, _run) in _WITH_OWN_PARSER.items():
        if summary:
            commands.add_parser(name, help=summary, add_help=False)
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    about: str,
    examples: str,
    run: Run,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=about,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE.toml", help="settings file; flags win over it")
    flags.add_settings(parser)


def _add_chat(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "endpoint",
        nargs="?",
        metavar="ENDPOINT",
        help="engine to connect to, if no --model is given (default: tcp://127.0.0.1:5757)",
    )
    parser.add_argument(
        "--card", metavar="FILE|NAME", help="who talks: a card (.toml, .json, .png) or an example"
    )
    parser.add_argument(
        "--save-slot", metavar="SLOT", default="talk", help="what /save uses (default: talk)"
    )
    flags.add_settings(parser, (*TALK_SETTINGS, "token"))


def _add_demo(parser: argparse.ArgumentParser) -> None:
    flags.add_settings(parser, TALK_SETTINGS, DEMO_DEFAULTS)


def _serve(args: argparse.Namespace) -> int:
    from npc_engine.server.serve import serve

    return serve(flags.settings_from(args))


def _chat(args: argparse.Namespace) -> int:
    _need_rich()
    from npc_engine.cli.chat import start as opening

    settings = flags.settings_from(args)
    own = flags.as_flags(flags.given(args), leave_out=NOT_PASSED_ON)
    return opening.chat(settings, own, args.endpoint, args.card, args.save_slot)


def _demo(args: argparse.Namespace) -> int:
    _need_rich()
    from npc_engine.cli.chat import start as opening

    settings = flags.settings_from(args)
    own = flags.as_flags(flags.given(args), leave_out=NOT_PASSED_ON)
    return opening.demo(settings, own, scripted=not _has_keyboard())


def _doctor(argv: Sequence[str]) -> int:
    from npc_engine.cli.doctor.command import main as doctor  # type: ignore[import-not-found, unused-ignore]

    return int(doctor(argv))


def _selftest(argv: Sequence[str]) -> int:
    from npc_engine.llama.selftest import main as selftest  # type: ignore[import-not-found, unused-ignore]

    return int(selftest(argv))


def _inspect(argv: Sequence[str]) -> int:
    is_live = any(flag.split("=")[0] == "--live" for flag in argv)
    if is_live and not {"--json", "--help", "-h"} & {*argv}:
        _need_rich()
    from npc_engine.cli.inspect.live import main as inspect

    return inspect(argv)


def _saves(argv: Sequence[str]) -> int:
    from npc_engine.cli.saves.command import main as saves

    return saves(argv)


def _top(argv: Sequence[str]) -> int:
    is_live = sys.stdout is not None and sys.stdout.isatty()
    if is_live and not {"--once", "--json", "--help", "-h"} & {*argv}:
        _need_rich()
    from npc_engine.cli.top.command import main as top

    return top(argv)


def _bench(argv: Sequence[str]) -> int:
    from npc_engine.bench.commands import bench

    return bench(argv)


def _tune(argv: Sequence[str]) -> int:
    from npc_engine.bench.commands import tune

    return tune(argv)


# Commands whose module reads the rest of the command line itself, and what the list of commands
# says of them; one with no text is not listed.
_WITH_OWN_PARSER: dict[str, tuple[str, Callable[[Sequence[str]], int]]] = {
    "doctor": ("check this machine and a model", _doctor),
    "saves": ("list, check, prune, export and import save slots", _saves),
    "inspect": ("what is in a save, or in the windows of a running engine", _inspect),
    "top": ("watch a running engine: who speaks, who waits, speeds, memory", _top),
    "bench": ("measure the engine and a model: how they do over time", _bench),
    "tune": ("find out what suits a model", _tune),
    "selftest": ("", _selftest),
}


def _failed(error: NpcError, debug: bool) -> int:
    """Say what went wrong in one row; the traceback only for those who asked for it."""
    if debug:
        log.error("npc-engine cannot go on", exc_info=error)
    if sys.stderr is not None:
        print(f"npc-engine: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def _need_rich() -> None:
    from importlib.util import find_spec

    if find_spec("rich") is None:
        raise SetupError(
            "What is shown in the terminal needs the package rich, which is not installed.",
            "Install it: pip install rich",
        )


def _has_keyboard() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("npc-engine-llama")
    except PackageNotFoundError:  # a source checkout, or a frozen build
        return "(not installed as a package)"
