"""The heading by a network: how much each field weighs against the gyro, as the solution of Wahba's problem.

The network sees how the field varies and says its standard deviation. What the gyro says (a prior rotation and its
variances) and the field make an attitude profile matrix, whose projection to SO(3) is the attitude and whose
singular values are its covariance (matrix Fisher distribution, Lee 2018). All of that is in the ONNX graph.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nn_estimation.attitude import features
from nn_estimation.attitude.constants import Constants
from nn_estimation.attitude.inclination import ASTRAY, tilt_variance
from nn_estimation.filters import matrix, wrapped
from nn_estimation.inference import Model, ModelError

INPUTS = ("features", "prior", "prior_variance", "field")
OUTPUTS = ("rotation", "covariance", "heading_std")
BY_MODEL, STARTING, OUT_OF_RANGE, FAILED = range(4)
REASONS = ("network", "starting", "out of range", "network failed")
TURNED_AWAY = 0.1**2  # [rad^2] of an unknown turn, from which on the learned heading begins anew
SLEW = math.radians(
    0.1
)  # [rad] of heading a look by which the blend may move, to the network and back from it


class WahbaWeights:
    """Runs the network of a model file.

    Args:
        model: of the task attitude.

    Attributes:
        reason: index into REASONS of the last look.
        counts: of looks by reason.
        std: [rad] what the network says of the last field.
    """

    def __init__(self, model: Model) -> None:
        contract = model.contract
        self._low, self._high = np.array(contract.valid_range, dtype=np.float64).T
        self._model = model
        self._bound = model.bind(
            {
                "features": (1, len(features.NAMES)),
                "prior": (1, 3, 3),
                "prior_variance": (1, 2),
                "field": (1, 3),
            }
        )
        self.counts = dict.fromkeys(REASONS, 0)
        self.reset()

    def reset(self) -> None:
        """Forget the last look; the counts stay."""
        self.reason, self.std = STARTING, math.nan

    def trusts(self, found: np.ndarray, bank: np.ndarray) -> bool:
        """Whether features (14,) are in the trained range, and their means are worth something."""
        if not features.settled(bank):
            self._say(STARTING)
        elif (found < self._low).any() or (found > self._high).any():
            self._say(OUT_OF_RANGE)
        else:
            return True
        return False

    def update(
        self, found: np.ndarray, prior: np.ndarray, variance: tuple[float, float], field: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Attitude and covariance after a field.

        Args:
            found: (14,) features.
            prior: (3, 3) sensor to world (east, north, up) before it.
            variance: [rad^2] of its inclination and of its heading.
            field: (3,) sensor frame.

        Returns:
            (3, 3) rotation and (3, 3) [rad^2] covariance about the world axes; None where the network failed.
        """
        inputs, outputs = self._bound.inputs, self._bound.outputs
        inputs["features"][0] = found
        inputs["prior"][0] = prior
        inputs["prior_variance"][0] = variance
        inputs["field"][0] = field
        try:
            self._bound()
        except ModelError:
            self._say(FAILED)
            return None
        R, P = outputs["rotation"][0], outputs["covariance"][0]
        if not (math.isfinite(R.sum()) and math.isfinite(P.sum()) and P[2, 2] > 0.0):
            self._say(FAILED)
            return None
        self.std = float(outputs["heading_std"][0])
        self._say(BY_MODEL)
        return R, P

    def _say(self, reason: int) -> None:
        self.reason = reason
        self.counts[REASONS[reason]] += 1


class Heading:
    """Heading of the inclination filter's world by fields: the angle that turns it to north.

    Args:
        constants: of the model.
        network: None: it follows VQF.

    Attributes:
        angle: [rad] from the world of the inclination filter to east, north, up.
        variance: [rad^2] of it.
        share: of it in the output, the rest is VQF's; it moves slowly between 0 and `constants.blend`.
    """

    def __init__(self, constants: Constants, network: WahbaWeights | None) -> None:
        self.constants, self.network = constants, network
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.angle, self.variance, self.share, self._known = 0.0, 0.0, 0.0, False
        if self.network is not None:
            self.network.reset()

    def use(self, constants: Constants, network: WahbaWeights | None) -> None:
        """Change to another network or none under way."""
        self.constants, self.network = constants, network
        if network is not None:
            network.reset()

    def look(
        self,
        found: np.ndarray,
        bank: np.ndarray,
        R: np.ndarray,
        P: np.ndarray,
        memory: np.ndarray,
        field: np.ndarray,
        peer: np.ndarray,
        clock: np.ndarray,
    ) -> None:
        """Take in a field.

        Args:
            found: (14,) features.
            bank: memory of the features.
            R: (3, 3) of the inclination filter.
            P: (22, 22) of it.
            memory: of it.
            field: (3,) sensor frame, the mean since the look before.
            peer: (4,) w, x, y, z of VQF.
            clock: (3,) [s] since the last field, since the look before, which is set to zero, and since the features.
        """
        c, dt = self.constants, clock[1]
        clock[1] = 0.0
        followed = vqf_angle(peer, R)
        if memory[ASTRAY] > TURNED_AWAY:
            # Nobody saw the turn in a gap: the field says anew where north is, by way of VQF.
            self.angle, self.variance, self.share, self._known = followed, c.heading**2, 0.0, True
            return
        if not self._known:
            self.angle, self.variance, self._known = azimuth(R, field), c.heading_0**2, True
        self.variance += c.heading_walk**2 * dt
        network, spoke = self.network, False
        if network is not None and network.trusts(found, bank):
            prior = turned(R, self.angle)
            result = network.update(found, prior, (tilt_variance(P), self.variance), field)
            if result is not None:
                self.angle = wrapped(self.angle + twist(result[0], prior))
                self.variance = float(result[1][2, 2])
                spoke = True
        off = abs(wrapped(self.angle - followed))
        step = SLEW / max(off, SLEW)
        goal = c.blend if spoke else 0.0
        self.share += min(max(goal - self.share, -step), step)
        if not spoke and self.share == 0.0:
            self.angle, self.variance = followed, c.heading**2


def turned(R: np.ndarray, angle: float) -> np.ndarray:
    """(3, 3) R turned about the vertical of the world by an angle [rad]."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([c * R[0] - s * R[1], s * R[0] + c * R[1], R[2]])


def azimuth(R: np.ndarray, field: np.ndarray) -> float:
    """[rad] by which the world of R (3, 3) is turned so that a field (3,) of the sensor points north."""
    return math.atan2(float(R[0] @ field), float(R[1] @ field))


@njit(cache=True)
def twist(A, B):  # type: ignore[no-untyped-def]
    """[rad] about the vertical that takes B (3, 3) nearest to A (3, 3), both sensor to world."""
    sine = cosine = 0.0
    for k in range(3):
        sine += A[1, k] * B[0, k] - A[0, k] * B[1, k]
        cosine += A[0, k] * B[0, k] + A[1, k] * B[1, k]
    return math.atan2(sine, cosine)


@njit(cache=True)
def vqf_angle(q, R):  # type: ignore[no-untyped-def]
    """[rad] from the world of R (3, 3) to that of a quaternion q (4,) w, x, y, z."""
    V = np.empty((3, 3))
    matrix(q, V)
    return twist(V, R)
