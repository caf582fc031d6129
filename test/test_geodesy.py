"""Claims about places on the Earth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn_estimation.geodesy import LocalFrame, earth_centred, geodetic

latitudes = st.floats(-1.5, 1.5)
longitudes = st.floats(-3.1, 3.1)


@given(latitudes, longitudes, st.floats(-100.0, 3000.0))
def test_latitude_and_longitude_come_back(latitude: float, longitude: float, height: float) -> None:
    assert geodetic(earth_centred(latitude, longitude, height)) == pytest.approx(
        (latitude, longitude), abs=1e-9
    )


def test_the_equator_and_the_pole_are_where_wgs_84_has_them() -> None:
    np.testing.assert_allclose(earth_centred(0.0, 0.0, 0.0), [6378137.0, 0.0, 0.0])
    np.testing.assert_allclose(earth_centred(math.pi / 2, 0.0, 0.0), [0.0, 0.0, 6356752.314245], atol=1e-6)


@given(latitudes, longitudes)
def test_north_is_north_and_up_is_up(latitude: float, longitude: float) -> None:
    frame = LocalFrame(latitude, longitude, 100.0)
    np.testing.assert_allclose(frame.position(latitude, longitude, 100.0), 0.0, atol=1e-8)
    np.testing.assert_allclose(frame.position(latitude, longitude, 130.0), [0.0, 0.0, 30.0], atol=1e-7)
    east, north, _ = frame.position(latitude + 1e-6, longitude, 100.0)
    assert north == pytest.approx(6.37, abs=0.05) and abs(east) < 1e-3
    east, north, _ = frame.position(latitude, longitude + 1e-6, 100.0)
    assert east == pytest.approx(6.38 * math.cos(latitude), abs=0.03) and abs(north) < 1e-3


def test_a_place_comes_back_from_its_position_and_lies_where_it_should() -> None:
    frame = LocalFrame(np.radians(49.0), np.radians(8.4), 115.0)
    position = np.array(
        [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [3e3, -5e3, 40.0]]
    )
    place = frame.place(position)
    np.testing.assert_allclose([frame.position(*each) for each in place], position, atol=1e-6)
    # Lengths of a degree at 49 deg north, by the series of the US National Geospatial-Intelligence Agency.
    off = np.degrees(place[1:3, 1::-1] - place[0, 1::-1])
    np.testing.assert_allclose(off.diagonal(), [1.0 / 73_172.0, 1.0 / 111_209.0], rtol=1e-3)
