"""Claims about the field that is carried to the present."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation.attitude.field import CAPACITY, DELAY, LONGEST, carry, turn

from .scene import FIELD

WORK = np.empty((3, 3))


class Turning:
    """A sensor that turns at rates which change from sample to sample, and remembers them."""

    def __init__(self, rate: float, count: int, seed: int = 0, bias: float = 0.0) -> None:
        rng = np.random.default_rng(seed)
        self.stamp = 100.0 + np.arange(count) / rate
        self.gyro = 4.0 * rng.standard_normal((count, 3))  # [rad/s] from the sample before to this one
        steps = Rotation.from_rotvec(self.gyro / rate)
        self.truth = [Rotation.random(random_state=seed)]
        for step in steps[1:]:
            self.truth.append(self.truth[-1] * step)
        self.ring, self.stamps = np.zeros((CAPACITY, 3, 3)), np.full(CAPACITY, -np.inf)
        self.ring[0], self.stamps[0], self.head = np.eye(3), self.stamp[0], 0
        for n in range(1, count):
            self.head = turn(
                self.ring, self.stamps, self.head, self.stamp[n], self.gyro[n] + bias, 1.0 / rate, WORK
            )

    def seen(self, rotation: Rotation) -> np.ndarray:
        return rotation.inv().apply(FIELD)

    def carried(self, stamp: float, gyro: np.ndarray, field: np.ndarray) -> np.ndarray | None:
        out = np.full(3, 7.0)
        if not carry(self.ring, self.stamps, self.head, stamp, gyro, field, out, WORK):
            assert (out == 7.0).all()
            return None
        return out


@pytest.mark.parametrize("rate", [50.0, 286.0, 1000.0, 2000.0])
def test_a_late_field_is_what_the_sensor_would_see_now(rate: float) -> None:
    body = Turning(rate, 200)
    now = body.seen(body.truth[-1])
    late = round(DELAY * rate)
    for back in range(late + 1):
        n = len(body.stamp) - 1 - back
        found = body.carried(body.stamp[n], body.gyro[-1], body.seen(body.truth[n]))
        np.testing.assert_allclose(found, now, atol=1e-12 * np.linalg.norm(FIELD))
    assert late >= 1 and np.linalg.norm(now - body.seen(body.truth[-1 - late])) > 0.01 * np.linalg.norm(FIELD)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_field_between_two_samples_is_carried_by_the_rate_between_them(part: float) -> None:
    body = Turning(200.0, 100)
    between = body.truth[-2] * Rotation.from_rotvec(part * body.gyro[-1] / 200.0)
    found = body.carried(body.stamp[-2] + part / 200.0, body.gyro[-1], body.seen(between))
    np.testing.assert_allclose(found, body.seen(body.truth[-1]), atol=1e-12 * np.linalg.norm(FIELD))


def test_a_bias_of_the_gyro_turns_the_field_by_no_more_than_bias_times_delay() -> None:
    """What the carrying itself may cost: half a degree a second makes 0.01 degrees."""
    body, bias = Turning(1000.0, 100, bias=0.009), 0.009 * np.sqrt(3.0)
    found = body.carried(body.stamp[-21], body.gyro[-1], body.seen(body.truth[-21]))
    now = body.seen(body.truth[-1])
    assert np.linalg.norm(found - now) < 1.01 * bias * DELAY * np.linalg.norm(FIELD)


def test_a_field_whose_samples_are_gone_or_were_never_there_is_refused() -> None:
    body = Turning(2000.0, 2 * CAPACITY)
    assert body.carried(body.stamp[-CAPACITY + 2], body.gyro[-1], FIELD) is not None
    for gone in (body.stamp[-CAPACITY - 2], body.stamp[0]):
        assert body.carried(gone, body.gyro[-1], FIELD) is None
    young = Turning(100.0, 5)
    assert young.carried(young.stamp[0] - 0.001, young.gyro[-1], FIELD) is None
    assert young.carried(young.stamp[0], young.gyro[-1], FIELD) is not None


def test_no_field_is_carried_across_a_gap() -> None:
    body = Turning(100.0, 100)
    later = body.stamp[-1] + LONGEST + 0.01
    body.head = turn(body.ring, body.stamps, body.head, later, body.gyro[-1], LONGEST + 0.01, WORK)
    for before in (body.stamp[-1], later - 0.005):
        assert body.carried(before, body.gyro[-1], FIELD) is None
    np.testing.assert_allclose(body.carried(later, body.gyro[-1], FIELD), FIELD, atol=1e-18)


def test_rotations_stay_rotations_over_many_turns() -> None:
    body = Turning(1000.0, 4000)
    R = body.ring[body.head]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-13)
