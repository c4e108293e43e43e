"""A system's word for how a child ended, in a game developer's words."""

import signal

import pytest

from npc_engine.client.exit_status import death
from npc_engine.llama.measurements import cpu_name


@pytest.mark.parametrize(
    ("status", "cause", "advice"),
    [
        (-4, "instructions", "GGML_NATIVE=OFF"),
        (132, "instructions", "build"),  # through a shell
        (0xC000001D, "instructions", "build"),
        (0xC000001D - (1 << 32), "instructions", "build"),  # as a signed number
        (-11, "crashed", "doctor"),
        (139, "crashed", "doctor"),
        (0xC0000005, "crashed", "doctor"),
        (0xC00000FD, "crashed", "doctor"),
        (-6, "gave up", "log"),
        (-9, "memory", "smaller"),
        (137, "memory", "--slots"),
        (-7, "disk", "disk"),
        (-10, "disk", "disk"),
        (0xC0000006, "disk", "disk"),
        (0xC0000135, "library", "redistributable"),
        (126, "executed", "chmod"),
        (127, "not found", "folder"),
        (-15, "Somebody", "again"),
    ],
)
def test_what_a_status_means(status: int, cause: str, advice: str) -> None:
    found = death(status)
    assert found is not None
    assert cause in found.cause
    assert advice in found.help
    assert "{" not in found.cause


@pytest.mark.parametrize("status", [0, 1, 2, 3, 100, 125, 128, 255, -200, 1 << 31, 0xC0FFEE])
def test_what_programs_choose_themselves_means_nothing(status: int) -> None:
    assert death(status) is None


def test_the_processor_is_named() -> None:
    found = death(-signal.SIGILL)
    assert found is not None
    assert cpu_name() in found.cause
