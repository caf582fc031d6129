"""Claims about latency, constants and true covariances, found on trials with truth."""

import math
from dataclasses import replace

import numpy as np
import pytest

from nn_estimation.attitude.constants import Constants
from nn_estimation.attitude.trial import TrialError
from nn_estimation.attitude.tuning import (
    SEARCHED,
    Seen,
    at,
    find_latency,
    fit_scale,
    incline,
    objective,
    rms,
    scale_tilt,
    see,
    tune,
    tune_trust,
)

from .handled import handled

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def trials() -> list[Seen]:
    return [see(handled(seed, duration=40.0, scale=0.006, misalignment=0.006)) for seed in (1, 2)]


@pytest.mark.parametrize("delay", [0.0, 0.0025, 0.01])
def test_the_latency_of_a_sensor_comes_back(delay: float) -> None:
    trials = [see(handled(seed, duration=40.0, rate=200.0, delay=delay, pace=1.5)) for seed in (1, 2)]
    assert find_latency(trials) == pytest.approx(delay, abs=1e-3)


def test_the_filter_is_judged_with_the_heading_of_vqf(trials: list[Seen]) -> None:
    own, peers = incline(trials[0], Constants()), incline(trials[0], Constants(), trust=0.0)
    assert (peers.trust == 0.0).all() and 0.0 < own.trust.min() < own.trust.max() < 1.0
    assert own.quaternion.shape == (len(trials[0].rows), 4) and own.tilt.shape == (len(trials[0].rows), 2)
    assert rms(own.tilt) < rms(peers.tilt)
    assert trials[0].trial.scored[trials[0].rows].all()


def test_a_trial_that_gains_nothing_costs_more_than_another_gains() -> None:
    assert objective([1.0, 1.0], [1.0, 1.0]) > 0.0 > objective([0.8, 0.8], [1.0, 1.0])
    assert objective([0.5, 1.2], [1.0, 1.0]) > objective([0.8, 0.8], [1.0, 1.0])
    assert objective([0.5, 0.6], [1.0, 1.0]) == pytest.approx(0.5 * math.log(0.3))


def test_a_point_of_the_search_is_a_factor_on_each_constant() -> None:
    start = Constants(latency=0.004)
    assert at(start, np.zeros(len(SEARCHED))) == start
    step = np.zeros(len(SEARCHED))
    step[SEARCHED.index("gyro_walk")] = math.log(3.0)
    found = at(start, step)
    assert found.gyro_walk == pytest.approx(3.0 * start.gyro_walk)
    assert found._replace(gyro_walk=start.gyro_walk) == start


def test_no_evaluations_leave_the_constants_alone(trials: list[Seen]) -> None:
    assert tune(trials, Constants(latency=0.003), 0) == Constants(latency=0.003)


def test_a_search_makes_the_objective_no_larger_and_says_so(trials: list[Seen]) -> None:
    pytest.importorskip("cma", reason="tuning needs the extra train")
    start, said = Constants(gyro=0.05, velocity=0.3), []

    def value(c: Constants) -> float:
        peers = [rms(incline(s, c, trust=0.0).tilt) for s in trials]
        return objective([rms(incline(s, c, trust=1.0).tilt) for s in trials], peers)

    found = tune(trials, start, 30, say=said.append)
    assert value(found) < value(start) - 0.1
    assert tune(trials, start, 30) == found  # the same seed, the same constants
    assert len(said) == 1 and said[0].startswith("constants tuned: objective ")


def test_a_filter_that_is_wrong_is_believed_less(trials: list[Seen]) -> None:
    good, wrong = Constants(), Constants(velocity=0.01, position=0.01, adapt=0.0)
    shares = []
    for c in (good, wrong):
        chosen = tune_trust(trials, c)
        shares.append(float(np.mean([incline(s, chosen).trust.mean() for s in trials])))
    assert shares[1] < 0.5 * shares[0]


def test_the_reported_inclination_covers_what_it_says(trials: list[Seen]) -> None:
    c = scale_tilt(trials, tune_trust(trials, Constants()))
    for sigmas, nominal in ((1.0, 0.683), (2.0, 0.954)):
        inside = []
        for s in trials:
            i = incline(s, c)
            mixed = i.trust**2 * i.variance + (1.0 - i.trust) ** 2 * c.peer_tilt**2
            bound = sigmas * np.sqrt(c.tilt_scale**2 * mixed + c.tilt_floor**2)
            inside.append(np.mean(np.abs(i.tilt) <= bound[:, None]))
        assert np.mean(inside) == pytest.approx(nominal, abs=0.05)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_scale_of_variances_comes_back(scale: float) -> None:
    rng = np.random.default_rng(0)
    variances = [rng.uniform(0.2, 5.0, 4000) for _ in range(3)]
    errors = [scale * np.sqrt(v) * rng.standard_normal(4000) for v in variances]
    found, floor = fit_scale(errors, variances)
    for v in variances:
        np.testing.assert_allclose(np.mean(found**2 * v + floor**2), scale**2 * np.mean(v), rtol=0.15)


def test_errors_that_no_variance_explains_make_a_floor() -> None:
    rng = np.random.default_rng(0)
    scale, floor = fit_scale([0.1 * rng.standard_normal(4000)], [np.zeros(4000)])
    assert floor == pytest.approx(0.1, rel=0.1) and scale > 0.0


def test_trials_that_say_nothing_are_refused_by_name() -> None:
    t = handled(duration=5.0)
    with pytest.raises(TrialError, match="handled_0: no sample has a truth that counts"):
        see(replace(t, scored=np.zeros(len(t.stamp), dtype=bool)))
    short = {name: getattr(t, name)[:20] for name in ("stamp", "gyro", "accel", "mag_stamp", "mag", "truth")}
    with pytest.raises(TrialError, match="handled_0: 20 samples are too few to find their rate"):
        see(replace(t, scored=np.ones(20, dtype=bool), **short))
