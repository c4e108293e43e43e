"""Two thousand random requests for twelve characters on three slots, against a naive model.

The model is a set of canaries for each character: words that only it was told. Whatever is
spoken, cut, parked, saved, loaded or fails, nobody ever knows a canary that it was not told, and
every request has one terminal reply. FakeLlama and the rig check the rest at every step.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.support.canaries import Walk

N_REQUESTS = 2_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["shifts", "rereads", "recurrent"])
def test_nobody_knows_what_it_was_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("os.fsync", lambda fd: None)
    walk = Walk(tmp_path, 1, kind)
    walk.run(N_REQUESTS)
    walk.rig.close()
    counts = walk.counts
    assert counts["Done"] > 150
    assert counts["Saved"] > 10
    assert counts["Loaded"] > 10
    assert counts["internal"] > 0
    assert walk.n_checked > 1_000, "the canaries must have something to say"
    assert any(s.n_parked_bytes for s in _sequences(walk)), "nobody was ever parked"
    assert walk.fake.closed
    assert counts["Pinned"] > 10
    assert counts["Rewound"] > 10
    assert counts["restored"] > 10
    assert counts["TranscriptReply"] > 10
    assert counts["SceneDone"] > 5
    assert counts["Turn"] > 10
    assert walk.rig.engine.stage.prefix_cache.n_restored > 500, "nothing was shared"
    assert (walk.n_reread > 0) == (kind == "recurrent")


def _sequences(walk: Walk) -> list[Any]:
    return [c.dialogue.sequence for c in walk.rig.engine.stage.characters.values()]
