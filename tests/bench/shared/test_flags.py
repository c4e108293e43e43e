"""Flags: what their help says, what they may be, and the command in words again."""

import argparse

import pytest

from npc_engine.bench.shared.flags import (
    Flag,
    add_flags,
    add_out,
    check,
    in_words,
    names,
    numbers,
    threads,
)
from npc_engine.errors import ConfigError

FLAGS = (
    Flag("parts", "a,b", "which", metavar="A,B"),
    Flag("depth", 900, "tokens of past", 256, 1 << 20),
    Flag("turn-seconds", 4.0, "of each", 0, 3600, "S"),
    Flag("chunk", 32, "read together (default: a few)", 1),
    threads(),
)


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser, "a model", FLAGS)
    add_out(parser, "it.json")
    return parser.parse_args(["--model", "far/q4.gguf", *argv])


def test_numbers_are_numbers_and_words_are_words() -> None:
    args = parsed("--depth=300", "--turn-seconds=2", "--parts=1")
    assert (args.depth, args.turn_seconds, args.parts, args.threads) == (300, 2.0, "1", None)
    assert (args.out, args.no_plot) == ("it.json", False)
    with pytest.raises(SystemExit):
        parsed("--threads=many")


def test_the_help_tells_a_default_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--help")
    told = " ".join(capsys.readouterr().out.split())
    for text in (
        "--depth N tokens of past (default: 900)",
        "--turn-seconds S of each (default: 4)",
        "--chunk N read together (default: a few) --",
        "(default: physical cores less one) --",
        "stand beside it (default: it.json)",
    ):
        assert text in told


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--depth=9", "--depth is 9. It must be from 256 to 1,048,576."),
        ("--turn-seconds=0", "--turn-seconds is 0. It must be above 0, and at most 3600."),
        ("--turn-seconds=nan", "--turn-seconds is nan. It must be above 0"),
        ("--chunk=0", "--chunk is 0. Give 1 or more."),
        ("--threads=257", "--threads is 257. It must be from 1 to 256."),
    ],
)
def test_a_value_out_of_range_is_told(flag: str, says: str) -> None:
    check(parsed(), FLAGS)
    with pytest.raises(ConfigError) as caught:
        check(parsed(flag), FLAGS)
    assert says in str(caught.value)


def test_names() -> None:
    assert names("parts", "b, a,b", ("a", "b")) == ["b", "a"]
    with pytest.raises(ConfigError, match=r"--parts has ''. There are: a, b\."):
        names("parts", "", ("a", "b"))


def test_numbers() -> None:
    assert numbers("depths", "8, 2,8", "Give numbers.", (1, 9)) == [8, 2, 8]
    with pytest.raises(ConfigError, match=r"--depths is '1,many'\. Give numbers\."):
        numbers("depths", "1,many", "Give numbers.", (1, 9))
    with pytest.raises(ConfigError, match=r"--depths has 0\. Each must be from 1 to 2,000\."):
        numbers("depths", "5,0", "Give numbers.", (1, 2000))


def test_the_command_in_words_has_the_name_of_the_model_alone() -> None:
    given = vars(parsed("--turn-seconds=2.5"))
    told = in_words("bench it", given, ["turn-seconds", "depth", "threads"])
    assert told == "npc-engine bench it --model q4.gguf --turn-seconds 2.5 --depth 900"
