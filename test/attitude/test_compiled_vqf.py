"""The compiled VQF gives the numbers of the package by its authors, whatever the sensors go through."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from nn_estimation.attitude import compiled_vqf
from nn_estimation.attitude.trial import read_trial

from .trials import trial

package = pytest.importorskip("vqf", reason="the published VQF is not installed: pip install vqf")


@njit
def over(vqf, gyro, accel, field, quaternion, rest):  # type: ignore[no-untyped-def]
    v = vqf[0]
    for n in range(len(gyro)):
        heard = field[n, 0] != 0.0 or field[n, 1] != 0.0 or field[n, 2] != 0.0
        compiled_vqf.update(v, gyro[n], accel[n], field[n], heard)
        compiled_vqf.attitude(v, quaternion[n])
        rest[n] = v.rest != 0


class Both:
    """The compiled one and the package, fed alike; fields of zeros are none."""

    def __init__(self, interval: float, field_interval: float) -> None:
        self.ours = np.zeros(1, compiled_vqf.LAYOUT)
        compiled_vqf.begin(self.ours)
        compiled_vqf.retime(self.ours[0], interval, field_interval)
        self.theirs = package.VQF(interval, interval, field_interval)

    def retime(self, interval: float, field_interval: float) -> None:
        compiled_vqf.retime(self.ours[0], interval, field_interval)
        state = self.theirs.state
        self.theirs = package.VQF(interval, interval, field_interval)
        self.theirs.state = state

    def agree(self, gyro: np.ndarray, accel: np.ndarray, field: np.ndarray) -> dict[str, np.ndarray]:
        """Over (N, 3) of each; what the package says."""
        gyro, accel, field = (np.ascontiguousarray(part, np.float64) for part in (gyro, accel, field))
        quaternion, rest = np.empty((len(gyro), 4)), np.empty(len(gyro), dtype=bool)
        over(self.ours, gyro, accel, field, quaternion, rest)
        found: dict[str, np.ndarray] = self.theirs.updateBatch(gyro, accel, field)
        np.testing.assert_allclose(quaternion, found["quat9D"], rtol=0.0, atol=1e-9)
        np.testing.assert_array_equal(rest, found["restDetected"])
        np.testing.assert_allclose(self.ours["bias"][0], self.theirs.getBiasEstimate()[0], atol=1e-11)
        return found


def fields(stamp: np.ndarray, mag_stamp: np.ndarray, mag: np.ndarray) -> np.ndarray:
    """(N, 3), zeros where there is none."""
    out = np.zeros((len(stamp), 3))
    at = np.searchsorted(stamp, mag_stamp)
    out[at[at < len(out)]] = mag[at < len(out)]
    return out


@pytest.mark.parametrize("every", [1, 3, 25])
@pytest.mark.parametrize("magnet", [0.0, 5e-5])
def test_turned_by_hand_beside_a_magnet_that_comes_and_goes(every: int, magnet: float) -> None:
    t = trial(seconds=120.0, mag_every=every, magnet=magnet)
    found = Both(0.01, 0.01 * every).agree(t.gyro, t.accel, fields(t.stamp, t.mag_stamp, t.mag))
    assert not magnet or 0.05 < found["magDistDetected"][1000:].mean() < 0.95


def test_at_rest_upside_down_and_without_a_field() -> None:
    rng = np.random.default_rng(0)
    gyro, accel = 0.001 * rng.standard_normal((2, 3000, 3)) + [[[0.01, -0.02, 0.005]], [[0.0, 0.0, -9.81]]]
    found = Both(0.005, 0.005).agree(gyro, accel, np.zeros((3000, 3)))
    assert found["restDetected"].mean() > 0.8


def test_a_new_field_is_accepted_and_a_disturbed_one_counts_after_a_minute() -> None:
    t = trial(seconds=200.0)
    field = t.mag.copy()
    field[2000:] *= 1.5  # another place
    field[9000:] *= 1.0 + 0.5 * np.sin(0.02 * np.arange(11000))[:, None]  # no place at all
    found = Both(0.01, 0.01).agree(t.gyro, t.accel, field)
    assert found["magDistDetected"][2100] and not found["magDistDetected"][8900]
    assert found["magDistDetected"][9300:].mean() > 0.7


@pytest.mark.parametrize("seconds", [0.3, 2.0, 20.0])
def test_it_goes_on_with_other_intervals_from_where_it_was(seconds: float) -> None:
    """While the low passes still average, and after that."""
    t, half = trial(seconds=40.0), round(100 * seconds)
    both = Both(0.01, 0.01)
    both.agree(t.gyro[:half], t.accel[:half], t.mag[:half])
    both.retime(0.02, 0.2)  # the low pass of norm and dip is none at that rate
    both.agree(t.gyro[half::2], t.accel[half::2], t.mag[half::2])


@pytest.mark.parametrize("name", ["27_disturbed_phone_vibration_B", "36_disturbed_attached_magnet_5cm"])
def test_a_public_trial(recorded: Callable[..., Path], name: str) -> None:
    t = read_trial(recorded("broad", "attitude/broad", name))
    found = Both(1.0 / 285.7, 1.0 / 285.7).agree(t.gyro, t.accel, fields(t.stamp, t.mag_stamp, t.mag))
    assert 0.05 < found["restDetected"].mean() < 0.95 and 0.05 < found["magDistDetected"].mean() < 0.95
