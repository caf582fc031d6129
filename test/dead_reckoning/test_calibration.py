"""Claims about what is calibrated from drives with truth: a simulated car, with errors that are known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation.dead_reckoning.calibration import CalibrationError, calibrate, standstill, wheel_speed
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.drive import Drive
from nn_estimation.dead_reckoning.estimator import track
from nn_estimation.dead_reckoning.filter import GRAVITY
from nn_estimation.dead_reckoning.tuning import LINEAR, LOGARITHMIC, Objective, at, tune

pytestmark = pytest.mark.once

TRUE = Constants(slip=-0.05, mount_pitch=-0.01, mount_yaw=0.004, lever_x=0.3, gyro_delay=0.05)


def car(seed: int, minutes: float = 4.0, dt: float = 0.01) -> Drive:
    """A car on winding roads, whose IMU is turned, sits off the point that does not slip, and whose gyro is late."""
    rng = np.random.default_rng(seed)
    stamp = dt * np.arange(round(minutes * 60 / dt))
    phase = rng.uniform(0, 6, 4)

    def rate(t: np.ndarray) -> np.ndarray:
        return 0.25 * np.sin(0.3 * t + phase[0]) * np.sin(0.07 * t + phase[1]) + 0.1 * np.sin(
            0.9 * t + phase[2]
        )

    speed = 10.0 + 4.0 * np.sin(0.05 * stamp + phase[3])
    turn = rate(stamp)
    heading = np.cumsum(turn) * dt
    slip = TRUE.slip * turn * speed
    mount = Rotation.from_rotvec([0.0, TRUE.mount_pitch, TRUE.mount_yaw])
    vehicle = Rotation.from_euler("z", heading[:, None])
    world_imu = vehicle * mount.inv()
    lever = np.array([TRUE.lever_x, 0.0, 0.0])
    omega = mount.apply(np.column_stack([0 * turn, 0 * turn, turn]))
    in_imu = mount.apply(np.column_stack([speed, slip, 0 * speed])) - np.cross(omega, lever)
    velocity = world_imu.apply(in_imu)
    accel = world_imu.inv().apply(np.gradient(velocity, dt, axis=0) + np.array([0.0, 0.0, GRAVITY]))
    late = mount.apply(np.column_stack([0 * turn, 0 * turn, rate(stamp - TRUE.gyro_delay)]))
    noise = rng.normal(0, 1, (2, len(stamp), 3)) * np.array([1e-3, 1e-2])[:, None, None]
    position = np.cumsum(velocity, axis=0) * dt
    every = np.ones(len(stamp), dtype=bool)
    return Drive(
        f"car{seed}",
        stamp,
        late + noise[0],
        accel + noise[1],
        world_imu.as_matrix(),
        position,
        velocity,
        every,
    )


def test_the_true_constants_come_back() -> None:
    found = calibrate([car(0), car(1)])
    assert found.gyro_delay == pytest.approx(TRUE.gyro_delay, abs=0.005)
    assert found.slip == pytest.approx(TRUE.slip, abs=0.005)
    assert found.mount_pitch == pytest.approx(TRUE.mount_pitch, abs=5e-4)
    assert found.mount_yaw == pytest.approx(TRUE.mount_yaw, abs=5e-4)
    assert found.lever_x == pytest.approx(TRUE.lever_x, abs=0.05)


def test_calibrating_makes_the_drift_smaller_and_tuning_no_larger() -> None:
    pytest.importorskip("cma", reason="tuning needs the extra train")
    objective = Objective([[car(2)], [car(3)]])
    plain, calibrated = Constants(), calibrate([car(0), car(1)])
    assert objective(calibrated) < 0.7 * objective(plain)
    tuned = tune(objective, calibrated, evaluations=15)
    assert tuned.objective <= tuned.before
    assert objective(tuned.constants) == tuned.objective


def test_a_search_begins_at_its_start() -> None:
    start = Constants(slip=-0.05, lever_x=0.1)
    assert at(start, np.zeros(len(LOGARITHMIC) + len(LINEAR))) == start


def with_a_stop(engine: float, road: float) -> Drive:
    """A drive that begins with half a minute of standing; noise densities in times those of the IMU."""
    drive = car(4, minutes=2.0)
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 1, (2, len(drive.stamp), 3)) * np.array([1e-3, 1e-2])[:, None, None]
    stop = 3000
    drive.velocity[:stop] = 0.0
    drive.gyro[:stop], drive.accel[:stop] = 0.0, (0.0, 0.0, GRAVITY)
    scale = np.where(np.arange(len(drive.stamp)) < stop, engine, road)[:, None]
    drive.gyro[:] += scale * noise[0]
    drive.accel[:] += scale * noise[1]
    return drive


def test_a_stop_is_told_from_driving_by_how_quiet_it_is() -> None:
    drive = with_a_stop(engine=1.0, road=20.0)
    constants = Constants(**standstill([drive], Constants()))
    found = track(constants, drive.stamp, drive.gyro, drive.accel, drive.start(constants))
    stands = found.nis == -1.0
    assert stands[200:3000].mean() > 0.9
    assert not stands[3100:].any()


def test_a_ride_as_smooth_as_a_stop_leaves_standstill_off() -> None:
    assert standstill([with_a_stop(engine=5.0, road=1.0)], Constants()) == {
        "quiet_gyro": 0.0,
        "quiet_accel": 0.0,
    }


def test_drives_without_stops_leave_standstill_off() -> None:
    assert standstill([car(0)], Constants()) == {"quiet_gyro": 0.0, "quiet_accel": 0.0}


def test_the_scale_of_the_wheels_comes_back() -> None:
    drive = car(6)
    rng = np.random.default_rng(7)
    forward = np.einsum("nj,nj->n", drive.R[:, :, 0], drive.velocity)
    wheels = np.column_stack([drive.stamp, forward / 1.02 + rng.normal(0, 0.05, len(drive.stamp))])[::5]
    found = wheel_speed([replace(drive, wheels=wheels)])
    assert found["speed_scale"] == pytest.approx(1.02, abs=1e-3)
    assert found["wheel_speed"] == pytest.approx(0.05**2 * 20, rel=0.1)
    assert wheel_speed([drive]) == {}


def test_too_little_driving_is_refused() -> None:
    with pytest.raises(CalibrationError, match="the delay needs 10"):
        calibrate([car(0, minutes=0.5)])
    with pytest.raises(CalibrationError, match="200 m of driving"):
        Objective([[car(0, minutes=0.1)]])
