"""The KV cache layout: what the flags allow, who wins the race, and that it is run only once."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npc_engine.config import FLASH_ATTN, KV_TYPES
from npc_engine.cpu import BUSY
from npc_engine.errors import BackendError, ConfigError, ModelError
from npc_engine.llama import kv_layout as calibrate
from npc_engine.llama.kv_layout import CANDIDATES, Row, choose_layout, measured
from npc_engine.llama.layout_trial import N_HISTORY, LayoutTrial
from npc_engine.llama.measurements import recall
from npc_engine.llama.model import Layout, Model

PLAIN, FLASH, MIXED, BF16, SMALL = CANDIDATES
SIZES = {PLAIN: 200, FLASH: 200, MIXED: 150, BF16: 200, SMALL: 100}


class FakeTrack:
    """A candidate whose steps take what the test says."""

    opened: list["FakeTrack"]

    def __init__(self, layout: Layout, times: Iterator[float], size: int) -> None:
        self.layout = layout
        self.times = times
        self.bytes_per_token = size
        self.closed = False

    def step(self) -> float:
        return next(self.times)

    def close(self) -> None:
        self.closed = True


class FakeClock:
    def __init__(self, tick: float) -> None:
        self.now = 0.0
        self.tick = tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


class Fakes:
    """Opens fake tracks, and remembers them."""

    def __init__(self, ms: dict[Layout, float], noise: list[float] | None = None) -> None:
        self.ms = ms
        self.noise = noise or [1.0]
        self.busy: float | None = 0.0
        self.tracks: list[FakeTrack] = []

    def __call__(self, layout: Layout) -> FakeTrack:
        if layout not in self.ms:
            raise ModelError(f"{layout} is not for this model.")
        self.tracks.append(FakeTrack(layout, self._times(layout), SIZES.get(layout, 50)))
        return self.tracks[-1]

    def _times(self, layout: Layout) -> Iterator[float]:
        i = 0
        while True:
            yield self.ms[layout] * self.noise[i % len(self.noise)]
            i += 1


def fake_model(policy: str = "full") -> Model:
    model = SimpleNamespace(
        policy=policy,
        n_gpu_layers=0,
        extra_bufts=True,
        fingerprint=lambda: "f00",
        takes=lambda _layout: True,
    )
    return cast(Model, model)


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fakes:
    monkeypatch.setenv("NPC_ENGINE_CACHE_DIR", str(tmp_path))
    fakes = Fakes({PLAIN: 10.0, FLASH: 20.0, MIXED: 9.0, BF16: 12.0, SMALL: 11.0})
    monkeypatch.setattr(calibrate, "LayoutTrial", lambda _model, layout, _n_threads: fakes(layout))
    busy = lambda: fakes.busy is None or fakes.busy > BUSY  # noqa: E731
    monkeypatch.setattr(calibrate, "others_are_busy", busy)
    monkeypatch.setattr(calibrate, "room_for", lambda _model, _layout: 1)
    monkeypatch.setattr(calibrate, "Watch", lambda: SimpleNamespace(busy=lambda: fakes.busy))
    return fakes


@pytest.mark.parametrize("kv_type", KV_TYPES)
@pytest.mark.parametrize("flash_attn", FLASH_ATTN)
def test_the_flags_are_obeyed(race: Fakes, kv_type: str, flash_attn: str) -> None:
    race.ms |= {Layout(t, t, f): 30.0 for t in ("f32", "bf16", "q4_0") for f in (True, False)}
    race.ms[Layout("q8_0", "f16", True)] = 8.0
    if kv_type in ("q8_0", "q4_0") and flash_attn == "off":
        with pytest.raises(ConfigError, match=rf"{kv_type}.*--flash-attn on"):
            choose_layout(fake_model(), kv_type, flash_attn, 1)
        return
    layout = choose_layout(fake_model(), kv_type, flash_attn, 1)
    if kv_type != "auto":
        assert layout == Layout.parse(kv_type, layout.flash_attn)
    if flash_attn != "auto":
        assert layout.flash_attn is (flash_attn == "on")


def test_flags_that_leave_no_choice_measure_nothing(race: Fakes) -> None:
    assert choose_layout(fake_model(), "q4_0", "auto", 1) == Layout("q4_0", "q4_0", True)
    assert choose_layout(fake_model(), "f16", "on", 1) == FLASH
    assert race.tracks == []


def test_a_recurrent_model_has_nothing_to_measure(race: Fakes) -> None:
    assert choose_layout(fake_model("recurrent"), "auto", "auto", 1) == PLAIN
    assert measured(fake_model("recurrent"), 1) == []
    assert race.tracks == []


def test_the_fastest_is_chosen_and_kept(race: Fakes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "npc_engine.llama.kv_layout")
    assert choose_layout(fake_model(), "auto", "auto", 1) == MIXED
    assert [r.getMessage() for r in caplog.records] == [
        "KV cache calibrated: q8_0/f16, flash attention off (9.0 ms a step)"
    ]
    assert len(race.tracks) == len(CANDIDATES)
    assert all(track.closed for track in race.tracks)
    race.ms = {PLAIN: 1.0}
    assert choose_layout(fake_model(), "auto", "auto", 1) == MIXED  # no second race
    assert [row.layout for row in measured(fake_model(), 1)] == list(CANDIDATES)
    assert len(race.tracks) == len(CANDIDATES)


def test_other_circumstances_are_measured_anew(
    race: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = len(CANDIDATES)
    choose_layout(fake_model(), "auto", "auto", 1)
    choose_layout(fake_model(), "auto", "auto", 2)
    assert len(race.tracks) == 2 * n
    monkeypatch.setattr(calibrate, "build_id", lambda: "another build")
    choose_layout(fake_model(), "auto", "auto", 2)
    assert len(race.tracks) == 3 * n
    monkeypatch.setattr(calibrate, "cpu_name", lambda: "another CPU")
    choose_layout(fake_model(), "auto", "auto", 2)
    assert len(race.tracks) == 4 * n


def test_fresh_replaces_what_was_kept(race: Fakes) -> None:
    measured(fake_model(), 1)
    race.ms[FLASH] = 1.0
    assert [row.layout for row in measured(fake_model(), 1, fresh=True) if row.chosen] == [FLASH]
    assert choose_layout(fake_model(), "auto", "auto", 1) == FLASH


def race_again(race: Fakes, busy: float | None, fastest: Layout, fresh: bool = False) -> bool:
    """Start once more with another fastest layout; whether there was another race."""
    race.busy, n = busy, len(race.tracks)
    race.ms = {layout: 1.0 if layout == fastest else 9.0 for layout in CANDIDATES}
    assert measured(fake_model(), 1, fresh)
    return len(race.tracks) > n


def chosen() -> list[Layout]:
    return [row.layout for row in measured(fake_model(), 1) if row.chosen]


def test_what_was_measured_on_a_busy_machine_is_measured_again_on_a_quiet_one(race: Fakes) -> None:
    assert race_again(race, 0.5, FLASH)
    assert chosen() == [FLASH]
    assert {row.busy for row in measured(fake_model(), 1)} == {0.5}
    assert not race_again(race, 0.5, BF16), "it is as busy as it was"
    assert not race_again(race, None, BF16), "nobody tells"
    assert race_again(race, 0.0, PLAIN)
    assert chosen() == [PLAIN]
    assert not race_again(race, 0.0, BF16), "once"


def test_a_busy_machine_replaces_nothing_that_was_measured_on_a_quiet_one(race: Fakes) -> None:
    race_again(race, 0.0, FLASH)
    assert race_again(race, 0.5, BF16, fresh=True)
    assert chosen() == [FLASH]
    assert race_again(race, 0.0, BF16, fresh=True)
    assert chosen() == [BF16]


def test_what_memory_was_too_short_for_takes_part_when_there_is_some(
    race: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 1000
    needs = dict.fromkeys(CANDIDATES, 500) | {FLASH: 3000, SMALL: 2000}
    monkeypatch.setattr(calibrate, "room_for", lambda _model, layout: needs[layout])
    memory = lambda: SimpleNamespace(available=free)  # noqa: E731
    monkeypatch.setattr("psutil.virtual_memory", memory)
    all_ms = dict.fromkeys(CANDIDATES, 10.0) | {FLASH: 1.0}
    race.ms = {layout: ms for layout, ms in all_ms.items() if needs[layout] <= free}
    assert choose_layout(fake_model(), "auto", "auto", 1) == MIXED
    race.ms, free, n = all_ms, 2500, len(race.tracks)
    assert choose_layout(fake_model(), "auto", "auto", 1) == MIXED, "still too little"
    assert len(race.tracks) == n
    free = 3000
    assert choose_layout(fake_model(), "auto", "auto", 1) == FLASH
    n = len(race.tracks)
    assert choose_layout(fake_model(), "auto", "auto", 1) == FLASH
    assert len(race.tracks) == n


@pytest.mark.parametrize(
    "kept",
    [None, 1, "f16", [], {}, {"x": 1}, {str(PLAIN): 5}, {str(PLAIN): ["a", 1]},
     {str(PLAIN): [-1, 1]}, {str(PLAIN): [float("nan"), 1]}, {str(PLAIN): [1, float("inf")]},
     {str(PLAIN): [1, 1]}],
)  # fmt: skip
@pytest.mark.parametrize("wrap", [False, True])
def test_kept_nonsense_is_measured_anew(
    race: Fakes, kept: Any, wrap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wrap:  # as this version keeps it, but for what is wrong with it
        good = kept == {str(PLAIN): [1, 1]}
        kept = {"results": kept, "busy": 0.0, "at": -1.0 if good else 0.0}
    monkeypatch.setattr(calibrate, "recall", lambda _kind, _key: kept)
    assert choose_layout(fake_model(), "auto", "auto", 1) == MIXED


def test_when_nothing_can_be_measured_the_plain_layout_is_used(
    race: Fakes, caplog: pytest.LogCaptureFixture
) -> None:
    race.ms = {}
    assert choose_layout(fake_model(), "auto", "auto", 1) == PLAIN
    assert "could be measured" in caplog.text
    assert recall(calibrate.KIND, calibrate._key(fake_model(), CANDIDATES, 1)) is None


@pytest.mark.parametrize(
    ("ms", "best"),
    [
        ({PLAIN: 10.0, MIXED: 10.4}, MIXED),  # a tie: the smaller
        ({PLAIN: 10.0, MIXED: 10.6}, PLAIN),
        ({PLAIN: 10.3, FLASH: 10.2, BF16: 10.0}, PLAIN),  # a tie of equal size: the plainer
        ({FLASH: 10.0, SMALL: 10.1, MIXED: 10.1}, SMALL),
    ],
)
def test_ties(ms: dict[Layout, float], best: Layout) -> None:
    assert calibrate._choose({layout: (t, SIZES[layout]) for layout, t in ms.items()}) == best


def test_noise_that_hits_all_does_not_change_the_winner() -> None:
    # Longer than a round and shorter than the race: a game that works in bursts.
    fakes = Fakes({PLAIN: 10.0, FLASH: 12.0, MIXED: 8.0}, noise=[1.0] * 3 + [9.0] * 4 + [2.0] * 2)
    results = calibrate._race(tuple(fakes.ms), fakes)
    assert min(results, key=lambda layout: results[layout][0]) == MIXED
    assert results[FLASH][0] / results[MIXED][0] == pytest.approx(1.5)


@given(st.lists(st.floats(0.5, 50), min_size=1, max_size=5), st.data())
def test_the_usual_time_ignores_outliers(base: list[float], data: st.DataObject) -> None:
    """One disturbed row in three changes nothing."""
    rounds = [list(base) for _ in range(9)]
    for i in data.draw(st.sets(st.integers(0, 8), max_size=3)):
        rounds[i] = data.draw(st.lists(st.floats(0.1, 500), min_size=len(base), max_size=len(base)))
    assert calibrate._usual(rounds) == pytest.approx(base)


def test_a_clear_race_is_short() -> None:
    fakes = Fakes({PLAIN: 10.0, MIXED: 8.0})
    counts = dict.fromkeys(fakes.ms, 0)

    def open_counted(layout: Layout) -> FakeTrack:
        track = fakes(layout)
        step = track.step

        def counted() -> float:
            counts[layout] += 1
            return step()

        track.step = counted  # type: ignore[method-assign]
        return track

    calibrate._race(tuple(fakes.ms), open_counted, FakeClock(0.0))
    assert set(counts.values()) == {calibrate.MIN_ROUNDS}


def test_a_slow_model_is_bounded_in_time() -> None:
    fakes = Fakes(dict.fromkeys(CANDIDATES, 800.0))
    results = calibrate._race(CANDIDATES, fakes, FakeClock(0.8))  # each look at the clock: 0.8 s
    assert list(results) == [PLAIN, FLASH]
    assert all(track.closed for track in fakes.tracks)


def test_a_very_slow_model_still_has_its_first_candidate() -> None:
    fakes = Fakes(dict.fromkeys(CANDIDATES, 9000.0))
    assert list(calibrate._race(CANDIDATES, fakes, FakeClock(10.0))) == [PLAIN]


def test_what_was_opened_is_closed_when_something_fails() -> None:
    fakes = Fakes({PLAIN: 1.0, MIXED: 1.0})

    def failing(layout: Layout) -> FakeTrack:
        if layout == MIXED:
            raise BackendError("no room")
        if layout == SMALL:
            raise RuntimeError("a bug")
        return fakes(layout)

    with pytest.raises(RuntimeError):
        calibrate._race((PLAIN, MIXED, SMALL), failing)
    assert [track.closed for track in fakes.tracks] == [True]


@pytest.mark.model
def test_the_real_model_is_measured_once(
    smollm2: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NPC_ENGINE_CACHE_DIR", str(tmp_path))
    model = Model(smollm2)
    layout = choose_layout(model, "auto", "auto", 1)
    assert layout in CANDIDATES
    monkeypatch.setattr(calibrate, "LayoutTrial", None)  # it would fail if it ran again
    assert choose_layout(model, "auto", "auto", 1) == layout
    rows = measured(model, 1)
    assert [row.layout for row in rows if row.chosen] == [layout]
    assert all(isinstance(row, Row) and row.ms > 0 for row in rows)
    by_layout = {row.layout: row.bytes_per_token for row in rows}
    assert by_layout[PLAIN] == pytest.approx(model.kv_bytes_per_token(PLAIN), rel=0.01)
    model.close()


@pytest.mark.model
def test_every_kind_of_memory(tiny_model: Path) -> None:
    model = Model(tiny_model)
    rows = measured(model, 1, fresh=True)
    if model.policy == "recurrent":
        assert rows == []
    else:
        assert PLAIN in [row.layout for row in rows]
        assert sum(row.chosen for row in rows) == 1
        assert all(row.bytes_per_token > 0 for row in rows)
    model.close()


@pytest.mark.model
def test_a_track_has_its_history(tiny_llama: Path) -> None:
    model = Model(tiny_llama)
    track = LayoutTrial(model, PLAIN, 1)
    cells = len(track._llama.export(0)) / track.bytes_per_token
    assert N_HISTORY <= cells < N_HISTORY + 8
    assert track.step() > 0
    track.close()
    model.close()


@pytest.mark.model
def test_a_track_needs_room(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npc_engine.llama.layout_trial.RESERVE_BYTES", 1 << 60)
    model = Model(tiny_llama)
    with pytest.raises(BackendError, match="No room"):
        LayoutTrial(model, PLAIN, 1)
    model.close()
