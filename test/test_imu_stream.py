"""Claims about the stream under both wings on an IMU: what is of no use is counted, time begins anew after a jump."""

import math

import numpy as np
import pytest

from nn_estimation import cdr
from nn_estimation.imu_stream import (
    BACKWARD_JUMP,
    INVALID_STAMP,
    JUMP,
    LATE,
    MALFORMED,
    ImuStream,
    UnusableError,
)
from nn_estimation.messages import ImuMessage
from nn_estimation.recorded import IMU_TOPIC


class Intervals(ImuStream[float]):
    """Says how long after the one before a sample comes."""

    def __init__(self) -> None:
        self.now = 100.0
        super().__init__(lambda: self.now, (0.0, 0.0, math.pi), 0.0, ("its own",))
        self._listen(IMU_TOPIC, cdr.IMU, self._imu)

    def reset(self) -> None:
        super().reset()

    def think(self) -> None:
        pass

    def _imu(self, data: bytes) -> float | None:
        message = cdr.decode_imu(data)
        self._heard()
        if message.gyro[0] > 1.0:
            raise UnusableError("too fast")
        return self._since_last(message.stamp_ns * 1e-9) if self._stamped(message.stamp_ns) else None


def sample(seconds: float, rate: float = 0.0) -> bytes:
    three = np.full(3, rate)
    return cdr.encode_imu(ImuMessage.of(round(seconds * 1e9), "imu", three, three))


def test_each_sample_comes_some_time_after_the_one_before() -> None:
    stream = Intervals()
    assert stream.topics == {IMU_TOPIC: cdr.IMU}
    assert stream.feed(IMU_TOPIC, sample(5.0)) == math.inf
    assert stream.feed(IMU_TOPIC, sample(5.5)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no message", MALFORMED),
        (sample(0.0), INVALID_STAMP),
        (sample(5.0), LATE),
        (sample(5.0 - 0.9 * BACKWARD_JUMP), LATE),
        (sample(6.0, 2.0), f"{IMU_TOPIC}: too fast"),
    ],
    ids=["malformed", "without a stamp", "repeated", "backward", "refused by the wing"],
)
def test_what_is_not_used_is_counted_and_changes_nothing(data: bytes, reason: str) -> None:
    stream = Intervals()
    assert set(stream.counts.values()) == {0} and "its own" in stream.counts
    stream.feed(IMU_TOPIC, sample(5.0))
    assert stream.feed(IMU_TOPIC, data) is None
    assert stream.counts[reason] == 1
    assert [stream.take_recent() for _ in range(3)] == [{reason: 1}, {reason: 1}, {}]
    assert stream.feed(IMU_TOPIC, sample(5.25)) == pytest.approx(0.25)


def test_a_jump_back_begins_anew() -> None:
    stream = Intervals()
    stream.feed(IMU_TOPIC, sample(5.0))
    assert stream.feed(IMU_TOPIC, sample(5.0 - 1.1 * BACKWARD_JUMP)) == math.inf
    assert stream.take_recent() == {JUMP: 1}


def test_silence_is_by_the_clock_since_the_last_sample_of_use_or_not() -> None:
    stream = Intervals()
    assert math.isnan(stream.silence)
    stream.feed(IMU_TOPIC, sample(5.0, 2.0))
    stream.now += 3.0
    assert stream.silence == 3.0
    stream.reset()
    assert stream.silence == 3.0 and stream.take_recent() == {}
