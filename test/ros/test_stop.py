"""Claims about the one clean stop of a node: what a signal does before and after the start."""

import signal
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("rclpy")

from nn_estimation.ros.stop import SIGNALS, StopSignals


@contextmanager
def listening() -> Iterator[StopSignals]:
    """Not a fixture: pytest hooks into what cannot be raised once a test has begun."""
    before = [signal.getsignal(number) for number in SIGNALS]
    signals = StopSignals()
    try:
        yield signals
    finally:
        signals.close()
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


def stopped(signals: StopSignals) -> bool:
    deadline = time.monotonic() + 5.0
    while not signals.stop.done() and time.monotonic() < deadline:
        time.sleep(0.01)
    return signals.stop.done()


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_ends_a_start_and_later_ones_do_not_disturb(number: signal.Signals) -> None:
    with listening() as signals:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.raise_signal(number)
        assert stopped(signals)


def test_once_started_a_signal_completes_the_stop_and_raises_nothing() -> None:
    with listening() as signals:
        signals.started()
        assert not signals.stop.done()
        signal.raise_signal(signal.SIGINT)
        assert stopped(signals)


def test_an_interrupt_that_falls_into_a_callback_of_the_interpreter_is_not_shouted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    with listening() as signals:
        forget(lambda _: signal.raise_signal(signal.SIGINT))
        assert stopped(signals) and said == []


def test_other_exceptions_of_callbacks_are_still_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[type] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: said.append(lost.exc_type))
    with listening():
        forget(lambda _: 1 / 0)
    assert said == [ZeroDivisionError]


class Held:
    """Something to be forgotten."""


def forget(callback: Callable[[Any], object]) -> None:
    """Let the interpreter call back where nothing can be raised."""
    held = Held()
    watch = weakref.ref(held, callback)
    del held
    assert watch() is None
