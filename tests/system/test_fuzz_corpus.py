"""The files that fuzzing found to be worth keeping: what was mended stays so."""

from pathlib import Path

import pytest

from tests.support.paths import TESTS
from tests.support.victim import Victim

CORPUS = sorted((TESTS / "fuzz" / "corpus").iterdir())


@pytest.mark.slow
def test_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda fd: None)
    victim = Victim(tmp_path)
    ends = {victim.take(file.read_bytes()) for file in CORPUS}
    victim.close()
    assert len(CORPUS) > 20
    assert ends >= {"bad_snapshot", "tokens"}
