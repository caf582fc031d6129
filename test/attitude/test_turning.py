"""Claims about turning: vectors that stand still in the world are told from those in other axes."""

import numpy as np
import pytest

from nn_estimation.attitude.turning import AXES, ENOUGH, SUMS, WINDOW, Turning, Verdict, turn

from .scene import Motion, at_rest, turned_by_hand


def judged(
    motion: Motion, vectors: np.ndarray, gyro: np.ndarray | None = None, every: int = 1
) -> Verdict | None:
    """Every so many samples the vector comes."""
    memory = np.zeros(SUMS)
    turning = Turning(memory)
    for n, w in enumerate(motion.gyro if gyro is None else gyro):
        turn(memory, w, motion.dt)
        if n % every == 0:
            turning.update(vectors[n], every * motion.dt)
    return turning.verdict()


MOTION = turned_by_hand()


@pytest.mark.parametrize("every", [1, 3, 10])
def test_a_vector_that_stands_still_agrees(every: int) -> None:
    found = judged(MOTION, MOTION.accel, every=every)
    assert found is not None
    assert found.agreement > 0.99 and found.axes == "x, y, z"
    assert found.scale == pytest.approx(1.0, abs=0.01)


def test_all_axes_are_told_apart() -> None:
    named = set()
    for axes in AXES.reshape(-1, 3, 3):
        found = judged(MOTION, MOTION.field @ axes)  # so that axes turn it back
        assert found is not None and found.best > 0.99
        named.add(found.axes)
        if not np.array_equal(axes, np.eye(3)):
            assert found.agreement < 0.1
    assert len(named) == 24


def test_the_axes_that_are_named_are_those_to_take() -> None:
    """x, y, z of the gyro are y, x, -z of the vector."""
    swapped = np.column_stack([MOTION.field[:, 1], MOTION.field[:, 0], -MOTION.field[:, 2]])
    found = judged(MOTION, swapped)
    assert found is not None and found.axes == "y, x, -z"
    cycled = MOTION.field[:, [1, 2, 0]]
    found = judged(MOTION, cycled)
    assert found is not None and found.axes == "z, x, y"


def test_the_scale_of_the_gyro_is_found_and_correlation_does_not_depend_on_it() -> None:
    found = judged(MOTION, MOTION.accel, np.degrees(MOTION.gyro))
    assert found is not None
    assert 1.0 / found.scale == pytest.approx(57.3, rel=0.02)
    assert found.correlation > 0.99


def test_the_size_of_the_vector_does_not_count() -> None:
    one, other = judged(MOTION, MOTION.field), judged(MOTION, 1e6 * MOTION.field)
    assert one is not None and other is not None
    assert one.agreement == pytest.approx(other.agreement, rel=1e-9)


def test_nothing_is_said_at_rest_or_about_an_axis_that_the_vector_lies_on() -> None:
    rest = at_rest(20.0)
    rng = np.random.default_rng(0)
    assert (
        judged(rest, rest.accel + rng.normal(0.0, 0.05, (2000, 3)), rng.normal(0.0, 0.01, (2000, 3))) is None
    )
    spin = np.tile([0.0, 0.0, 3.0], (2000, 1))
    assert judged(rest, rest.accel + rng.normal(0.0, 0.05, (2000, 3)), spin) is None


def test_nothing_is_said_before_enough_has_been_seen() -> None:
    n = round((ENOUGH - 1.0) * WINDOW / MOTION.dt)
    assert judged(MOTION, MOTION.accel[:n], MOTION.gyro[:n]) is None


def test_a_gap_does_not_count_as_turning() -> None:
    memory = np.zeros(SUMS)
    turning = Turning(memory)
    for part in (slice(300, 800), slice(1200, 1700)):
        for k, (w, v) in enumerate(zip(MOTION.gyro[part], MOTION.accel[part], strict=True)):
            turn(memory, w, MOTION.dt)
            turning.update(v, MOTION.dt if k else 4.0)
    found = turning.verdict()
    assert found is not None and found.agreement > 0.99


def test_flipping_all_three_axes_cannot_be_seen() -> None:
    found = judged(MOTION, -MOTION.field)
    assert found is not None and found.agreement > 0.99 and found.axes == "x, y, z"


def test_all_orders_and_signs_are_there_once_up_to_the_sign_of_all() -> None:
    np.testing.assert_array_equal(AXES[0].reshape(3, 3), np.eye(3))
    both = {tuple(axes) for axes in AXES} | {tuple(-axes) for axes in AXES}
    assert len(both) == 48 and all(sorted(map(abs, axes)) == 6 * [0.0] + 3 * [1.0] for axes in both)
