"""What fails again and again is tried more and more seldom, but not never."""

from npc_engine.saving.backoff import FIRST_S, MAX_S, Backoff


def test_it_waits_twice_as_long_each_time_and_at_first_again() -> None:
    retry, waits = Backoff(), []
    assert retry.at == 0.0
    for _ in range(7):
        retry.note_failure(100.0)
        waits.append(retry.at - 100.0)
    assert waits == [FIRST_S, 2.0, 4.0, 8.0, 16.0, MAX_S, MAX_S]
    retry.note_success()
    assert retry.at == 100.0 + MAX_S
    retry.note_failure(200.0)
    assert retry.at == 200.0 + FIRST_S
