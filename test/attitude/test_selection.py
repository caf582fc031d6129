"""Claims about how much of the learned heading is used: chosen where it helps, by the worst, with true bounds."""

import math
from pathlib import Path

import numpy as np
import pytest

from nn_estimation.attitude.batch import track
from nn_estimation.attitude.constants import Constants, packed
from nn_estimation.attitude.features import SETTLED
from nn_estimation.attitude.inclination import MEMORY
from nn_estimation.attitude.kernel import bounds
from nn_estimation.attitude.model import classical_setup, load_setups
from nn_estimation.attitude.selection import BLENDS, Chosen, Looks, _blended, choose, looks
from nn_estimation.attitude.tuning import Seen, see
from nn_estimation.inference import Model
from nn_estimation.metrics import attitude_errors

from .handled import handled
from .trials import WAHBA_CORRELATION

pytestmark = pytest.mark.once

C = Constants()


@pytest.fixture(scope="module")
def trials() -> list[Seen]:
    """Two that are handled beside magnets, and one where there are none."""
    return [see(handled(seed, duration=60.0, magnets=3 * (seed < 3), moment=1.0)) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def seen(trials: list[Seen]) -> list[Looks]:
    return [looks(s, C) for s in trials]


def chosen(trials: list[Seen], seen: list[Looks], scale: float | None = None) -> Chosen:
    """With scales [rad] that are the errors themselves where none is said."""
    scales = [
        np.clip(np.abs(k.error), 0.01, 1.0) if scale is None else np.full(len(k.row), scale) for k in seen
    ]
    return choose(trials, seen, scales, C)


def test_looks_are_as_far_apart_as_they_should_and_settle(trials: list[Seen], seen: list[Looks]) -> None:
    for s, k in zip(trials, seen, strict=True):
        assert np.median(k.dt) == pytest.approx(C.look, abs=0.05)
        assert k.dt.sum() == pytest.approx(s.trial.stamp[k.row[-1]] - s.trial.stamp[0])
        settled = s.trial.stamp[k.row] - s.trial.stamp[0] >= SETTLED
        np.testing.assert_array_equal(k.settled, settled)
        assert k.moving.any() and not k.moving.all() and np.isfinite(k.features).all()


def test_fields_are_wrong_where_there_are_magnets_and_the_features_tell(seen: list[Looks]) -> None:
    rms = [math.sqrt(np.mean(k.error[k.settled] ** 2)) for k in seen]
    assert min(rms[:2]) > 2.0 * rms[2] and math.degrees(rms[2]) < 2.0
    k = seen[0]
    told = np.corrcoef(k.features[k.settled].max(axis=1), np.log(np.abs(k.error[k.settled]) + 1e-3))[0, 1]
    assert told > 0.0


def test_the_errors_of_vqf_are_those_of_its_track(trials: list[Seen], seen: list[Looks]) -> None:
    t, k = trials[0].trial, seen[0]
    found = track(classical_setup("vqf"), t.stamp, t.gyro, t.accel, t.mag_stamp, t.mag)
    errors = attitude_errors(found.quaternion[k.row], t.truth[k.row]).heading
    # Angles about the vertical of attitudes that lean apart by a degree.
    np.testing.assert_allclose(k.peer_error, errors, atol=math.radians(0.3))


def test_scales_that_are_right_make_a_heading_that_is_better_than_vqfs(
    trials: list[Seen], seen: list[Looks]
) -> None:
    good = chosen(trials, seen)
    assert good.heading_ratio < 0.9 and good.worst_ratio < 1.05 and good.constants.blend in BLENDS
    assert len(good.heading_errors) == 3
    assert good.heading_ratio < chosen(trials, seen, 0.1).heading_ratio


def test_the_bound_of_a_heading_alone_is_that_of_vqf(trials: list[Seen], seen: list[Looks]) -> None:
    c = chosen(trials, seen).constants
    inside = [
        np.mean(np.abs(k.peer_error[s.trial.scored[k.row]]) < c.heading)
        for s, k in zip(trials, seen, strict=True)
    ]
    assert np.mean(inside) == pytest.approx(0.683, abs=0.15)
    assert c.heading_floor >= 0.0 and c.heading_scale > 0.0


@pytest.mark.parametrize(("sigmas", "nominal"), [(1.0, 0.683), (2.0, 0.954)])
def test_bounds_of_the_blend_hold_as_many_errors_as_they_say(
    trials: list[Seen], seen: list[Looks], sigmas: float, nominal: float
) -> None:
    c = chosen(trials, seen).constants
    nothing, inside = np.zeros(MEMORY), []
    for s, k in zip(trials, seen, strict=True):
        error, learned = _blended(k, np.clip(np.abs(k.error), 0.01, 1.0), c)
        variance = np.array([bounds(nothing, 0.0, 1.0, c.blend, p, packed(c)[0])[1] for p in learned])
        inside.append(np.mean((np.abs(error) < sigmas * np.sqrt(variance))[s.trial.scored[k.row]]))
    assert np.mean(inside) == pytest.approx(nominal, abs=0.05)


def test_the_heading_that_is_judged_is_the_one_that_comes_out(
    trials: list[Seen], seen: list[Looks], wahba_model: Path
) -> None:
    """The recursion of the search in a plane, beside the graph in the estimator."""
    model = Model.load(wahba_model, provider="cpu")
    setup = load_setups(model)["network"]
    t, k, count = trials[0].trial, seen[0], len(seen[0].row)
    prior, variance = np.tile(np.eye(3), (count, 1, 1)), np.full((count, 2), 1e-3)
    said = model.run(
        {
            "features": k.features.astype(np.float32),
            "prior": prior,
            "prior_variance": variance,
            "field": np.ones((count, 3)),
        }
    )
    scale = said["heading_std"].astype(np.float64) / math.sqrt(2.0)
    judged, _ = _blended(k, scale, setup.constants._replace(correlation=WAHBA_CORRELATION))
    found = track(setup, t.stamp, t.gyro, t.accel, t.mag_stamp, t.mag)
    assert (found.share[k.row[-1]] == setup.constants.blend) and not found.share[k.row[1]]
    after = np.minimum(k.row + 1, len(t.stamp) - 1)  # from which on a look counts
    came = attitude_errors(found.quaternion[after], t.truth[after]).heading
    later = found.share[after] == setup.constants.blend
    # The output also leans otherwise than the filter, by which the angles about the vertical differ.
    np.testing.assert_allclose(judged[later], came[later], atol=math.radians(0.3))
    assert np.abs(came - k.peer_error)[later].max() > math.radians(1.0)
