from harkara.devstack.restart_policy import GiveUp, Restart, RestartPolicy, decide, recent

POLICY = RestartPolicy(limit=3, limit_before_ready=1, window_seconds=60, first_delay_seconds=0.2)


def test_each_restart_within_the_window_waits_twice_as_long() -> None:
    assert decide(POLICY, [10.0], 10.0, was_ready=True) == Restart(0.2)
    assert decide(POLICY, [10.0, 11.0], 11.0, was_ready=True) == Restart(0.4)
    assert decide(POLICY, [10.0, 11.0, 12.0], 12.0, was_ready=True) == Restart(0.8)


def test_one_crash_too_many_ends_the_attempts() -> None:
    assert decide(POLICY, [10.0, 11.0, 12.0, 13.0], 13.0, was_ready=True) == GiveUp(crashes=4)


def test_crashes_older_than_the_window_are_forgiven() -> None:
    assert decide(POLICY, [10.0, 11.0, 12.0, 71.5], 71.5, was_ready=True) == Restart(0.4)
    assert decide(POLICY, [10.0, 11.0, 12.0, 500.0], 500.0, was_ready=True) == Restart(0.2)


def test_what_is_remembered_is_bounded_and_decides_the_same() -> None:
    crashes = [float(second) for second in range(40)]
    kept = recent(POLICY, crashes, 40.0)
    assert len(kept) == POLICY.limit + 1
    assert decide(POLICY, kept, 40.0, was_ready=True) == GiveUp(crashes=4)


def test_one_that_was_never_ready_is_given_up_sooner() -> None:
    assert decide(POLICY, [10.0], 10.0, was_ready=False) == Restart(0.2)
    assert decide(POLICY, [10.0, 11.0], 11.0, was_ready=False) == GiveUp(crashes=2)
