"""The evaluation: known errors give known numbers, every method at the same samples, the published one as it is."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation.attitude.evaluation import AttitudeTrace, aligned, metrics, score
from nn_estimation.attitude.trial import Trial

from .trials import trial

ERRORS = {"total_deg", "heading_deg", "inclination_deg", "total_p95_deg", "total_max_deg"}
COVERAGE = {f"{kind}_coverage_{n}sigma" for kind in ("tilt", "heading") for n in (1, 2)}


def off(found: Trial, rotation: Rotation) -> np.ndarray:
    """The truth, turned in the world."""
    return (rotation * Rotation.from_quat(found.truth)).as_quat()


def degrees(found: Trial, quaternion: np.ndarray, name: str = "network") -> dict[str, float]:
    return metrics(score(found, {name: (quaternion, None)})[name])


def test_an_error_about_the_vertical_is_heading_and_one_about_the_horizontal_inclination() -> None:
    found = trial()
    rows = degrees(found, off(found, Rotation.from_euler("z", 3.0, degrees=True)))
    assert (rows["total_deg"], rows["heading_deg"], rows["inclination_deg"]) == pytest.approx(
        (3, 3, 0), abs=1e-6
    )
    level = Rotation.from_rotvec(np.radians(2.0) * np.array([0.6, 0.8, 0.0]))
    rows = degrees(found, off(found, level))
    assert (rows["total_deg"], rows["heading_deg"], rows["inclination_deg"]) == pytest.approx(
        (2, 0, 2), abs=1e-6
    )
    assert (rows["total_p95_deg"], rows["total_max_deg"]) == pytest.approx((2, 2))


def test_only_scored_samples_count() -> None:
    found = trial()
    wrong = off(found, Rotation.from_euler("x", 90.0, degrees=True))
    wrong[2000:] = found.truth[2000:]
    assert degrees(found, wrong)["total_max_deg"] == pytest.approx(90.0)
    later = replace(found, scored=np.arange(len(found.stamp)) >= 2000)
    assert degrees(later, wrong)["total_max_deg"] == pytest.approx(0.0, abs=1e-6)


def test_all_methods_are_scored_where_each_of_them_has_an_estimate() -> None:
    found = trial()
    late = found.truth.copy()
    late[:70] = np.nan  # it is still starting
    traces = score(found, {"vqf": (found.truth, None), "filter": (late, None)})
    assert len(traces["vqf"].stamp) == len(traces["filter"].stamp) == len(found.stamp) - 70
    with pytest.raises(ValueError, match="hand: no scored sample has an estimate"):
        score(found, {"filter": (np.full_like(late, np.nan), None)})


@pytest.mark.parametrize("why", ["relative", "no magnetometer"])
def test_a_heading_that_counts_up_to_a_constant_is_turned_by_one(why: str) -> None:
    found = trial()
    turned = off(found, Rotation.from_euler("z", -170.0, degrees=True))
    assert degrees(found, turned)["heading_deg"] == pytest.approx(170.0)
    if why == "relative":
        found = replace(found, relative_heading=True, align=(found.stamp[10], found.stamp[60]))
    else:
        found = replace(found, mag_stamp=np.empty(0), mag=np.empty((0, 3)))
    assert degrees(found, turned)["total_deg"] == pytest.approx(0.0, abs=1e-6)
    # What drifts or leans after that is still an error.
    drift = np.radians(0.1) * (found.stamp - found.stamp[0])
    drifting = (Rotation.from_euler("z", drift[:, None]) * Rotation.from_quat(turned)).as_quat()
    assert degrees(found, drifting)["heading_deg"] == pytest.approx(0.1 * 30.0 / np.sqrt(3.0), rel=0.05)
    lean = degrees(found, off(found, Rotation.from_euler("x", 2.0, degrees=True)))
    assert lean["inclination_deg"] == pytest.approx(2.0)


def test_the_mean_heading_over_the_rest_decides_not_one_sample_and_not_the_sign_of_quaternions() -> None:
    found = replace(trial(), relative_heading=True, align=(1000.5, 1001.5))
    noise = np.radians(np.random.default_rng(0).normal(179.0, 1.0, len(found.stamp)))
    noisy = (Rotation.from_euler("z", noise[:, None]) * Rotation.from_quat(found.truth)).as_quat()
    noisy[::2] *= -1.0
    error = Rotation.from_quat(aligned(found, noisy)) * Rotation.from_quat(found.truth).inv()
    assert np.degrees(error.as_rotvec()[:, 2].mean()) == pytest.approx(0.0, abs=0.3)
    with pytest.raises(
        ValueError, match=r"hand: no truth from 1\.0 to 2\.0 s, over which its heading is aligned"
    ):
        aligned(replace(found, align=(1.0, 2.0)), noisy)


def test_a_method_without_a_heading_has_an_inclination_only() -> None:
    found = trial()
    assert set(degrees(found, off(found, Rotation.from_euler("z", 1.0)), "riann")) == {"inclination_deg"}


def test_bounds_are_scored_where_a_method_has_some() -> None:
    found = trial()
    covariance = np.tile(np.diag(np.radians([1.5, 1.5, 1.5]) ** 2), (len(found.stamp), 1, 1))
    trace = AttitudeTrace(
        found.stamp, off(found, Rotation.from_euler("z", 2.0, degrees=True)), found.truth, covariance
    )
    rows = metrics(trace)
    assert set(rows) == ERRORS | COVERAGE
    assert (rows["heading_coverage_1sigma"], rows["heading_coverage_2sigma"]) == (0.0, 1.0)
    assert rows["tilt_coverage_1sigma"] == 1.0
    assert set(metrics(replace(trace, covariance=None))) == ERRORS
