"""Claims about the heading by a network: who speaks, how slowly that changes, and what the angles mean."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nn_estimation.attitude import features, inclination
from nn_estimation.attitude.constants import Constants
from nn_estimation.attitude.heading import (
    SLEW,
    Heading,
    WahbaWeights,
    azimuth,
    turned,
    twist,
    vqf_angle,
)
from nn_estimation.filters import wrapped
from nn_estimation.inference import Model

from .scene import FIELD
from .trials import write_model

BANK = np.zeros(features.MEMORY)
BANK[features.MEMORY - 1] = 10.0  # [s] old
MIDDLE = np.full(len(features.NAMES), -2.0)
angles = st.floats(-math.pi, math.pi)


def weights(path: Path, **wrong: float) -> WahbaWeights:
    """Of a network that keeps the heading of the gyro, where all features are between -3 and 3."""
    pytest.importorskip("onnxruntime")
    return WahbaWeights(Model.load(write_model(path / "m.onnx", valid=(-3.0, 3.0), **wrong), provider="cpu"))


class Body:
    """A body at rest, whose field points `off` [rad] from the north that VQF knows."""

    def __init__(self, heading: Heading, off: float = 0.3) -> None:
        self.heading = heading
        self.field = Rotation.from_euler("z", off).apply(FIELD)
        self.peer = np.array([1.0, 0.0, 0.0, 0.0])
        self.memory = np.zeros(inclination.MEMORY)

    def look(self, found: np.ndarray = MIDDLE, bank: np.ndarray = BANK, dt: float = 0.035) -> float:
        """The heading [rad] of the output beside VQF's."""
        h, clock = self.heading, np.array([0.0, dt])
        h.look(found, bank, np.eye(3), 1e-4 * np.eye(22), self.memory, self.field, self.peer, clock)
        assert clock[1] == 0.0
        return h.share * wrapped(h.angle - vqf_angle(self.peer, np.eye(3)))

    def looks(self, count: int, found: np.ndarray = MIDDLE) -> np.ndarray:
        return np.array([self.look(found) for _ in range(count)])


@pytest.mark.parametrize("off", [0.02, 0.3, -2.0])
def test_the_output_moves_slowly_when_the_network_comes_and_goes(tmp_path: Path, off: float) -> None:
    c = Constants()
    body = Body(Heading(c, weights(tmp_path)), off)
    comes, goes = body.looks(800), body.looks(800, MIDDLE + 10.0)
    assert comes[-1] == pytest.approx(-c.blend * off) and goes[-1] == 0.0
    moved = np.diff(np.r_[0.0, comes, goes])
    assert np.abs(moved).max() < SLEW + 1e-12
    assert np.count_nonzero(moved) >= 2 * int(c.blend * abs(off) / SLEW)


@pytest.mark.parametrize("why", ["out of range", "network failed", "starting"])
def test_where_the_network_is_of_no_use_the_heading_falls_back_to_vqf_and_says_why(
    tmp_path: Path, why: str
) -> None:
    c, network = Constants(), weights(tmp_path)
    body = Body(Heading(c, network))
    body.looks(500)
    assert body.heading.share == c.blend and network.counts["network"] == 500
    found, bank = MIDDLE.copy(), BANK
    if why == "out of range":
        found[7] = 3.01
    elif why == "network failed":
        body.heading.network = network = weights(tmp_path, std=math.nan)
    else:
        bank = np.zeros(features.MEMORY)
    shares = []
    for _ in range(400):
        body.look(found, bank)
        shares.append(body.heading.share)
    assert network.counts[why] == 400
    assert (np.diff(shares) <= 0.0).all() and shares[0] > 0.9 * c.blend and shares[-1] == 0.0
    assert body.heading.angle == pytest.approx(0.0, abs=1e-12)
    assert body.heading.variance == c.heading**2


def test_one_bad_look_moves_the_share_by_one_step_and_it_comes_back(tmp_path: Path) -> None:
    body = Body(Heading(Constants(), weights(tmp_path)), 0.1)
    before = body.looks(500)[-1]
    learned = body.heading.angle
    assert abs(body.look(MIDDLE + 10.0) - before) == pytest.approx(SLEW)
    assert body.look() == pytest.approx(before) and body.heading.angle == learned


def test_without_a_network_the_heading_is_that_of_vqf(tmp_path: Path) -> None:
    body = Body(Heading(Constants(), None))
    assert (body.looks(50) == 0.0).all()
    body = Body(Heading(Constants(), weights(tmp_path)))
    body.looks(500)
    body.heading.use(Constants(), None)
    gone = body.looks(500)
    assert np.abs(np.diff(gone)).max() < SLEW + 1e-12 and gone[-1] == 0.0


def test_a_turn_that_nobody_saw_begins_the_learned_heading_anew(tmp_path: Path) -> None:
    c = Constants()
    body = Body(Heading(c, weights(tmp_path)))
    body.looks(500)
    body.memory[inclination.ASTRAY] = 0.25
    assert body.look() == 0.0
    assert body.heading.angle == pytest.approx(0.0, abs=1e-12) and body.heading.variance == c.heading**2
    body.memory[inclination.ASTRAY] = 0.0
    body.looks(500)
    assert body.heading.share == c.blend


def test_the_variance_grows_with_time_where_the_network_is_silent(tmp_path: Path) -> None:
    c = Constants(heading_walk=0.1)
    body = Body(Heading(c, weights(tmp_path, std=0.02)))
    body.looks(500)
    assert body.heading.variance == pytest.approx(0.02**2)
    variances = [body.heading.variance]
    for dt in (0.035, 0.5, 1.0):
        body.look(MIDDLE + 10.0, dt=dt)
        variances.append(body.heading.variance)
    np.testing.assert_allclose(np.diff(variances), c.heading_walk**2 * np.array([0.035, 0.5, 1.0]))


@given(angles, st.integers(0, 1000))
def test_angles_are_from_the_world_of_the_filter(angle: float, seed: int) -> None:
    R = Rotation.random(random_state=seed).as_matrix()
    V = turned(R, angle)
    np.testing.assert_allclose(V, Rotation.from_euler("z", angle).as_matrix() @ R, atol=1e-12)
    assert wrapped(twist(V, R) - angle) == pytest.approx(0.0, abs=1e-9)
    q = Rotation.from_matrix(V).as_quat()
    assert wrapped(vqf_angle(np.roll(q, 1), R) - angle) == pytest.approx(0.0, abs=1e-9)


@given(angles, st.integers(0, 1000))
def test_the_azimuth_turns_the_field_to_the_north(angle: float, seed: int) -> None:
    R = Rotation.random(random_state=seed).as_matrix()
    field = R.T @ Rotation.from_euler("z", angle).apply(FIELD)
    east, north, up = turned(R, azimuth(R, field)) @ field
    np.testing.assert_allclose([east, north, up], FIELD, atol=1e-12)


@given(st.floats(-50.0, 50.0))
def test_wrapped_angles_are_the_same_within_half_a_turn(angle: float) -> None:
    found = wrapped(angle)
    assert -math.pi <= found < math.pi + 1e-12
    assert math.sin(found - angle) == pytest.approx(0.0, abs=1e-9) and math.cos(found - angle) > 0.0
