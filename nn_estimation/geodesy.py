"""Places on the Earth: latitude, longitude and height, Earth-centred and local coordinates, WGS 84."""

from __future__ import annotations

import math

import numpy as np

SEMI_MAJOR, FLATTENING = 6378137.0, 1.0 / 298.257223563
_E2 = FLATTENING * (2.0 - FLATTENING)


def geodetic(position: np.ndarray) -> tuple[float, float]:
    """Latitude and longitude [rad] of an Earth-centred position (3,) [m], by Bowring's formula (1976)."""
    x, y, z = position
    semi_minor = SEMI_MAJOR * (1.0 - FLATTENING)
    p = np.hypot(x, y)
    theta = np.arctan2(z * SEMI_MAJOR, p * semi_minor)
    latitude = np.arctan2(
        z + _E2 / (1.0 - _E2) * semi_minor * np.sin(theta) ** 3, p - _E2 * SEMI_MAJOR * np.cos(theta) ** 3
    )
    return float(latitude), float(np.arctan2(y, x))


def earth_centred(latitude: float, longitude: float, height: float) -> np.ndarray:
    """(3,) [m] of a place; angles in [rad], height above the ellipsoid in [m]."""
    sine, cosine = math.sin(latitude), math.cos(latitude)
    radius = SEMI_MAJOR / math.sqrt(1.0 - _E2 * sine * sine)
    out = (radius + height) * cosine
    return np.array(
        [
            out * math.cos(longitude),
            out * math.sin(longitude),
            (radius * (1.0 - _E2) + height) * sine,
        ]
    )


def east_north_up(latitude: float, longitude: float) -> np.ndarray:
    """(3, 3) rotation from Earth-centred to local coordinates; angles in [rad]."""
    (sp, cp), (sl, cl) = (np.array([np.sin(a), np.cos(a)]) for a in (latitude, longitude))
    return np.array([[-sl, cl, 0.0], [-sp * cl, -sp * sl, cp], [cp * cl, cp * sl, sp]])


class LocalFrame:
    """East, north and up of an origin.

    Args:
        latitude: [rad].
        longitude: [rad].
        height: [m] above the ellipsoid.
    """

    def __init__(self, latitude: float, longitude: float, height: float) -> None:
        self.latitude, self.longitude, self.height = latitude, longitude, height
        self._origin = earth_centred(latitude, longitude, height)
        self._turn = east_north_up(latitude, longitude)

    def position(self, latitude: float, longitude: float, height: float) -> np.ndarray:
        """(3,) [m] east, north, up of a place; angles in [rad]."""
        return self._turn @ (earth_centred(latitude, longitude, height) - self._origin)

    def place(self, position: np.ndarray) -> np.ndarray:
        """(N, 3) latitude, longitude [rad] and height [m] of positions (N, 3) [m] east, north, up."""
        centred = self._origin + position @ self._turn
        latitude, longitude = np.array([geodetic(row) for row in centred]).T
        radius = SEMI_MAJOR / np.sqrt(1.0 - _E2 * np.sin(latitude) ** 2)
        height = np.hypot(centred[:, 0], centred[:, 1]) / np.cos(latitude) - radius
        return np.column_stack([latitude, longitude, height])
