"""What `nn_estimation evaluate attitude` says: who won, by how much and where not, and never more than that."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation.attitude.commands import gains, verdict, worse
from nn_estimation.attitude.evaluation import AttitudeTrace
from nn_estimation.metrics import Reduction


def rows(vqf: tuple[float, float], network: tuple[float, float]) -> dict[str, dict[str, float]]:
    """Inclination and total [deg] of both."""
    names = ("inclination_deg", "total_deg")
    return {"vqf": dict(zip(names, vqf, strict=True)), "network": dict(zip(names, network, strict=True))}


def results(**recordings: dict[str, dict[str, float]]) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    summary = {
        method: {
            metric: float(np.mean([found[method][metric] for found in recordings.values()]))
            for metric in ("inclination_deg", "total_deg")
        }
        for method in ("vqf", "network")
    }
    return {"recordings": recordings, "summary": summary}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("inclination", "total", "network", "sentence"),
    [
        (
            Reduction(50.0, 41.2, 58.0),
            Reduction(8.0, 2.0, 15.0),
            (0.4, 2.3),
            "network is 50 % below vqf in inclination, 0.40 against 0.80 deg (95 % interval 41 to 58 %) "
            "and 8 % below in total, 2.30 against 2.50 deg (95 % interval 2 to 15 %)",
        ),
        (
            Reduction(-25.0, -30.0, -20.0),
            Reduction(-4.0, -9.0, 2.0),
            (1.0, 2.6),
            "network is 25 % above vqf in inclination, 1.00 against 0.80 deg (95 % interval 20 to 30 %) "
            "and 4 % above in total, 2.60 against 2.50 deg (95 % interval -2 to 9 %, not told apart)",
        ),
        (
            Reduction(50.0, np.nan, np.nan),
            Reduction(8.0, np.nan, np.nan),
            (0.4, 2.3),
            "network is 50 % below vqf in inclination, 0.40 against 0.80 deg (too short for an interval) "
            "and 8 % below in total, 2.30 against 2.50 deg (too short for an interval)",
        ),
    ],
    ids=["below", "above", "short"],
)
def test_the_verdict_says_who_won_by_how_much_and_how_sure(
    inclination: Reduction, total: Reduction, network: tuple[float, float], sentence: str
) -> None:
    found = results(one=rows((0.8, 2.5), network))
    assert verdict({"inclination": inclination, "total": total}, found) == sentence


def test_the_verdict_names_the_trial_on_which_the_network_does_worst_against_vqf() -> None:
    found = results(slow=rows((0.8, 2.0), (0.4, 1.0)), fast=rows((0.2, 1.0), (0.21, 1.04)))
    none = Reduction(0.0, 0.0, 0.0)
    said = verdict({"inclination": none, "total": none}, found)
    assert said.endswith("; at worst, on fast, 4 % above in total and 5 % above in inclination")


def test_every_trial_that_got_worse_is_named() -> None:
    found = results(
        a=rows((1.0, 2.0), (0.9, 2.1)), b=rows((1.0, 2.0), (1.2, 2.004)), c=rows((1.0, 2.0), (0.5, 2.2))
    )
    assert worse(found["recordings"]) == [
        "network is above vqf in inclination on b (20.0 %)",
        "network is above vqf in total on a (5.0 %), c (10.0 %)",
    ]
    assert worse(results(a=rows((1.0, 2.0), (1.0, 2.0)))["recordings"]) == []


def trace(degrees: np.ndarray, rate: float = 10.0) -> AttitudeTrace:
    """A level sensor whose estimate leans to the north by (K,) [deg]."""
    stamp = 1000.0 + np.arange(len(degrees)) / rate
    estimate = Rotation.from_euler("x", np.asarray(degrees)[:, None], degrees=True).as_quat()
    return AttitudeTrace(stamp, estimate, np.tile([0.0, 0.0, 0.0, 1.0], (len(degrees), 1)))


def test_half_the_lean_is_fifty_per_cent_in_inclination_and_in_total() -> None:
    found = gains({"a": {"vqf": trace(np.full(2000, 2.0)), "network": trace(np.full(2000, 1.0))}})
    for kind in ("inclination", "total"):
        assert (found[kind].percent, found[kind].low, found[kind].high) == pytest.approx(
            (50, 50, 50), abs=1e-6
        )


def test_errors_that_last_twenty_seconds_are_one_observation() -> None:
    rng = np.random.default_rng(0)
    vqf, network = (np.repeat(1.0 + 0.3 * rng.standard_normal(9), 200) for _ in range(2))
    lasting = gains({"a": {"vqf": trace(vqf), "network": trace(network)}})["total"]
    order = rng.permutation(len(vqf))
    passing = gains({"a": {"vqf": trace(vqf[order]), "network": trace(network[order])}})["total"]
    assert lasting.percent == pytest.approx(passing.percent)
    assert lasting.high - lasting.low > 5.0 * (passing.high - passing.low)


def test_a_gain_on_one_trial_of_many_is_not_told_from_chance() -> None:
    traces = {
        name: {"vqf": trace(np.full(600, 1.0)), "network": trace(np.full(600, 0.2 if name == "a" else 1.02))}
        for name in "abcdefg"
    }
    found = gains(traces)["total"]
    assert found.percent == pytest.approx(100 * (0.8 - 6 * 0.02) / 7)
    assert found.low < 0.0 < found.high
