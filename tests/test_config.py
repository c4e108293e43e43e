"""Settings: each default holds, each bad value is a ConfigError that says what to do."""

import dataclasses
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine import config
from npc_engine.config import FLASH_ATTN, KV_TYPES, Sampling, Settings, read_toml
from npc_engine.errors import ConfigError

FIELDS = [(cls, f) for cls in (Sampling, Settings) for f in dataclasses.fields(cls)]
IDS = [f"{cls.__name__}.{f.name}" for cls, f in FIELDS]
INTS = {
    f.name for _, f in FIELDS if f.type in ("int", int) or f.name in ("seed", "n_ctx", "threads")
}
FLOATS = {f.name for _, f in FIELDS if f.type in ("float", float)}


def parse(cls: Any, **values: object) -> Any:
    return cls.parse(values)


@pytest.mark.parametrize(("cls", "field"), FIELDS, ids=IDS)
def test_every_default_is_a_value_that_can_be_given(cls: Any, field: Any) -> None:
    assert getattr(parse(cls, **{field.name: field.default}), field.name) == field.default
    assert type(parse(cls, **{field.name: field.default})) is cls
    assert field.metadata["help"]


@pytest.mark.parametrize(("cls", "field"), FIELDS, ids=IDS)
def test_every_setting_refuses_what_is_of_no_use(cls: Any, field: Any) -> None:
    for bad in ({}, object(), b"x", [1], math.nan, 10**400, -(2**70)):
        if field.name == "stop" and bad == []:
            continue
        with pytest.raises(ConfigError) as error:
            parse(cls, **{field.name: bad})
        assert field.name in error.value.message
        assert error.value.help


@pytest.mark.parametrize(("cls", "field"), FIELDS, ids=IDS)
def test_text_from_a_command_line_is_understood(cls: Any, field: Any) -> None:
    if isinstance(field.default, bool) or cls is Sampling:
        return
    text = "auto" if field.default is None else str(field.default)
    assert getattr(parse(cls, **{field.name: text}), field.name) == field.default


def test_nothing_given_is_all_defaults() -> None:
    assert Settings.parse({}) == Settings()
    assert Sampling.parse({}) == Sampling()


@pytest.mark.parametrize(
    ("cls", "name", "low", "high"),
    [
        (Settings, "window", 128, 1 << 20),
        (Settings, "slots", 1, 64),
        (Settings, "n_batch", 32, 8192),
        (Settings, "step_ms", 1, 10_000),
        (Settings, "n_gpu_layers", -1, 1000),
        (Settings, "threads", 1, 256),
        (Sampling, "temperature", 0, 10),
        (Sampling, "top_p", 0, 1),
        (Sampling, "seed", 0, 2**32 - 1),
    ],
)
def test_ranges_hold_at_both_ends(cls: Any, name: str, low: int, high: int) -> None:
    for good in (low, high):
        assert getattr(parse(cls, **{name: good}), name) == good
    for bad in (low - 1, high + 1):
        with pytest.raises(ConfigError, match=name) as error:
            parse(cls, **{name: bad})
        assert error.value.help == f"It must be from {low:,} to {high:,}."


@pytest.mark.parametrize("bad", [True, "12.5", 12.5, "", "many", "0x10", math.inf, "nan", None])
def test_what_is_no_whole_number(bad: object) -> None:
    with pytest.raises(ConfigError, match="slots"):
        Settings.parse({"slots": bad})


@pytest.mark.parametrize("bad", [True, 2.5, "2.5"])
def test_what_is_no_whole_number_though_in_range(bad: object) -> None:
    with pytest.raises(ConfigError, match=f"slots is {bad!r}"):
        Settings.parse({"slots": bad})


def test_whole_numbers_may_be_written_as_floats() -> None:
    slots = Settings.parse({"slots": 4.0}).slots
    assert (slots, type(slots)) == (4, int)
    assert type(Settings.parse({"step_ms": 20}).step_ms) is float


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("top_k", "40"),
        ("top_k", 40.0),
        ("top_k", True),
        ("seed", "auto"),
        ("seed", 1.0),
        ("temperature", "0.7"),
        ("temperature", True),
        ("temperature", math.inf),
    ],
)
def test_on_the_wire_a_number_is_a_number(name: str, bad: object) -> None:
    with pytest.raises(ConfigError, match=name) as error:
        Sampling.parse({name: bad})
    assert repr(bad) in error.value.message


def test_on_the_wire_a_whole_number_may_stand_for_a_float() -> None:
    temperature = Sampling.parse({"temperature": 1, "seed": None}).temperature
    assert (temperature, type(temperature)) == (1.0, float)


def test_a_text_with_a_nul_is_no_path() -> None:
    for name in ("model", "saves", "bind", "token"):
        with pytest.raises(ConfigError, match=name):
            Settings.parse({name: "a\0b"})


def test_auto_is_none_where_it_is_allowed() -> None:
    for value in ("auto", None):
        assert Settings.parse({"threads": value, "n_ctx": value}).threads is None
    with pytest.raises(ConfigError):
        Settings.parse({"slots": "auto"})


def test_choices_say_what_there_is() -> None:
    for kv_type in KV_TYPES:
        assert Settings.parse({"kv_type": kv_type}).kv_type == kv_type
    with pytest.raises(ConfigError, match="'q3_k'") as error:
        Settings.parse({"kv_type": "q3_k"})
    assert all(kv_type in error.value.help for kv_type in KV_TYPES)
    for bad in (True, "yes", 1):
        with pytest.raises(ConfigError, match="flash_attn") as error:
            Settings.parse({"flash_attn": bad})
        assert all(choice in error.value.help for choice in FLASH_ATTN)


def test_stop_is_a_list_of_texts() -> None:
    assert Sampling.parse({"stop": ["a", "b"]}).stop == ("a", "b")
    for bad in ("a", [1], {"a": 1}):
        with pytest.raises(ConfigError, match="stop"):
            Sampling.parse({"stop": bad})


def test_stop_has_an_end() -> None:
    most = ["x" * 256] * 64
    assert Sampling.parse({"stop": most}).stop == tuple(most)
    for bad in ([*most, "y"], ["x" * 257]):
        with pytest.raises(ConfigError, match=f"stop has {len(bad)} texts") as error:
            Sampling.parse({"stop": bad})
        assert error.value.help == "Give at most 64 texts of at most 256 characters each."


@pytest.mark.parametrize(
    ("cls", "name", "meant"),
    [
        (Settings, "windo", "window"),
        (Settings, "n_gpu_layer", "n_gpu_layers"),
        (Settings, "thread", "threads"),
        (Sampling, "temprature", "temperature"),
    ],
)
def test_an_unknown_name_gets_a_suggestion(cls: Any, name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=repr(name)) as error:
        parse(cls, **{name: 1})
    assert error.value.help == f"Did you mean {meant!r}?"


def test_an_unknown_name_like_none_gets_the_list() -> None:
    with pytest.raises(ConfigError) as error:
        Sampling.parse({"qqqqqq": 1})
    assert all(f.name in error.value.help for f in dataclasses.fields(Sampling))


def test_dashes_are_as_good_as_underscores() -> None:
    assert Settings.parse({"n-gpu-layers": -1}).n_gpu_layers == -1


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().window = 1  # type: ignore[misc]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from([Settings, Sampling]),
    st.dictionaries(st.sampled_from([f.name for _, f in FIELDS]) | st.text(), values, max_size=3),
)
def test_any_mapping_gives_settings_or_a_config_error(cls: Any, given: dict[str, Any]) -> None:
    try:
        parsed = cls.parse(given)
    except ConfigError as error:
        assert error.message
        assert error.help
        return
    for name in given:
        value = getattr(parsed, name.replace("-", "_"))
        if name in INTS:
            assert value is None or type(value) is int
        if name in FLOATS:
            assert math.isfinite(value)


# -- files -------------------------------------------------------------------------------------


def test_a_file_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "npc.toml"
    path.write_text('model = "q4.gguf"\nn-batch = 64\n', "utf-8")
    assert Settings.parse(read_toml(path)) == Settings(model="q4.gguf", n_batch=64)


@pytest.mark.parametrize(
    "raw",
    [
        b"window = ",
        b"\xff\xfe",
        b"a = 1\na = 2",
        b"window = " + b"9" * 5000,
        b"a = " + b"[" * 100_000,
    ],
    ids=["half a line", "not UTF-8", "twice", "endless number", "deep"],
)
def test_a_file_that_is_no_toml(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "npc.toml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"npc\.toml") as error:
        read_toml(path)
    assert error.value.help


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path, tmp_path / "nul\0.toml"):
        with pytest.raises(ConfigError) as error:
            read_toml(path)
        assert repr(str(path)) in error.value.message


def test_the_names_are_those_of_toml_and_of_flags() -> None:
    for _, field in FIELDS:
        assert field.name.isidentifier()
        assert tomllib.loads(f"{field.name} = 1") == {field.name: 1}
    assert set(config.__all__) <= set(vars(config))


@pytest.mark.parametrize("seed", [-1, "random", 1 << 32, 0.5])
def test_a_seed_that_is_none_tells_how_to_vary(seed: object) -> None:
    with pytest.raises(ConfigError, match="random number in each new game"):
        Sampling.parse({"seed": seed})
    assert Sampling.parse({"seed": None}).seed is None
