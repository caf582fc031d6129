"""Claims about what the network sees of the surroundings of a field."""

import math

import numpy as np
import pytest

from nn_estimation.attitude import features

EARTH = np.array([0.0, 20e-6, -45e-6])  # [T] east, north, up


def looked(
    fields: np.ndarray, turn_rate: float = 0.5, pull: float = 9.81, rest: bool = False, dt: float = 0.035
) -> dict[str, float]:
    """Features after looks at fields (N, 3) in the world."""
    memory, out = np.zeros(features.MEMORY), np.zeros(len(features.NAMES))
    for field in fields:
        features.look(memory, turn_rate, pull, field, rest, dt, out)
    return dict(zip(features.NAMES, out.tolist(), strict=True))


def still(count: int = 300) -> np.ndarray:
    return np.tile(EARTH, (count, 1))


def test_an_undisturbed_field_has_no_deviations() -> None:
    found = looked(still())
    for name, value in found.items():
        if name != "rest_5s":
            assert value == pytest.approx(math.log(0.52 if "turn_rate" in name else 0.005)), name
    assert found["rest_5s"] == 0.0


@pytest.mark.parametrize("unit", [1e4, 1e6, 1e9])
def test_the_unit_of_the_field_does_not_count(unit: float) -> None:
    fields = still() + 5e-6 * np.random.default_rng(0).standard_normal((300, 3))
    assert looked(unit * fields) == pytest.approx(looked(fields), rel=1e-9)


@pytest.mark.parametrize("angle", [0.5, 3.0, -3.0])
def test_where_north_is_does_not_count(angle: float) -> None:
    """Nor that the azimuth jumps from pi to -pi, as the heading of the filter's world is free."""
    fields = still() + 3e-6 * np.random.default_rng(0).standard_normal((300, 3))
    c, s = math.cos(angle), math.sin(angle)
    turned = fields @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    assert looked(turned) == pytest.approx(looked(fields), abs=1e-6)


def test_a_magnet_shows_in_the_norm_another_direction_in_dip_and_azimuth() -> None:
    def after(change: np.ndarray) -> dict[str, float]:
        fields = still()
        fields[-15:] = change
        return looked(fields)

    plain, stronger = after(EARTH), after(1.5 * EARTH)
    for name in plain:
        assert (stronger[name] > plain[name] + 0.5) == ("norm" in name), name
    steeper = after(np.array([0.0, 14e-6, math.sqrt(20.0**2 + 45.0**2 - 14.0**2) * -1e-6]))
    for name in plain:
        assert (steeper[name] > plain[name] + 0.5) == ("dip" in name), name
    turned = after(np.array([10e-6, math.sqrt(300.0) * 1e-6, -45e-6]))
    for name in plain:
        assert (turned[name] > plain[name] + 0.5) == ("azimuth" in name), name


def test_turns_pushes_and_rest_show_where_they_should() -> None:
    plain = looked(still())
    for change, part in (({"turn_rate": 3.0}, "turn"), ({"pull": 14.0}, "accel"), ({"rest": True}, "rest")):
        other = looked(still(), **change)  # type: ignore[arg-type]
        assert {name for name in plain if other[name] > plain[name] + 0.5} == {n for n in plain if part in n}


def test_the_first_looks_are_plain_means_and_settle_after_two_seconds() -> None:
    memory, out = np.zeros(features.MEMORY), np.zeros(len(features.NAMES))
    rates = [1.0, 2.0, 6.0]
    for rate in rates:
        features.look(memory, rate, 9.81, EARTH, False, 0.035, out)
    assert math.exp(out[2]) - 0.02 == pytest.approx(3.0, rel=1e-6)
    assert not features.settled(memory)
    for _ in range(56):
        features.look(memory, 1.0, 9.81, EARTH, False, 0.035, out)
    assert features.settled(memory)


def test_the_distance_between_looks_does_not_count() -> None:
    rng = np.random.default_rng(1)
    slow = still(200) + 5e-6 * rng.standard_normal((200, 3))
    fine, coarse = looked(np.repeat(slow, 4, axis=0), dt=0.0125), looked(slow, dt=0.05)
    for name in fine:
        if "0.1s" not in name:  # over which there are too few looks
            assert fine[name] == pytest.approx(coarse[name], abs=0.1), name
