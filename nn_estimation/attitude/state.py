"""All that an attitude estimate goes on from, as one record: compiled code takes it in one piece."""

from __future__ import annotations

import numpy as np

from nn_estimation.attitude import compiled_vqf, features, inclination
from nn_estimation.attitude.constants import Constants
from nn_estimation.attitude.field import CAPACITY

# In `out`, which begins as the values of a sensor_msgs/Imu do: quaternion, its covariance, turn rate; then the bias
# of the gyro and its deviation.
COVARIANCE, RATE, GYRO_BIAS, BIAS_STD, OUT = 4, 13, 16, 19, 20
QUEUE = 1024  # fields that can wait for their samples: of 2 kHz through a start and more
SPACE = 4  # matrices that `kernel.compose` works in
COUNTED = ("sample", "invalid", "repeated or backward", "gap", "field", "field too late", "restart")
SAMPLE, INVALID, LATE, GAP, FIELD, FIELD_TOO_LATE, RESTARTED = range(len(COUNTED))

_F, _N = np.float64, inclination.SIZE
LAYOUT = np.dtype(
    [
        # The inclination filter: see `inclination.step`.
        ("R", _F, (3, 3)),
        ("x", _F, (_N,)),
        ("P", _F, (_N, _N)),
        ("sums", _F, (inclination.SUMS,)),
        ("memory", _F, (inclination.MEMORY,)),
        # The network's: memory of the features and themselves; [s] since field, look, features; fields since a look
        # in the world, and their mean in the sensor.
        ("bank", _F, (features.MEMORY,)),
        ("found", _F, (len(features.NAMES),)),
        ("clock", _F, (3,)),
        ("mean", _F, (6,)),
        # Fields that wait for their time, a ring of which `waiting` begin at `first`.
        ("queue", _F, (QUEUE, 3)),
        ("queue_stamps", _F, (QUEUE,)),
        ("first", np.int64),
        ("waiting", np.int64),
        # Fields on their way to the present: see `field.turn`; the newest one, turned along; its stamp [s].
        ("ring", _F, (CAPACITY, 3, 3)),
        ("stamps", _F, (CAPACITY,)),
        ("head", np.int64),
        ("carried", _F, (3,)),
        ("field_stamp", _F),
        # VQF; mean intervals [s] of samples and fields; what it is given of a turn; its quaternion w, x, y, z.
        ("vqf", compiled_vqf.LAYOUT),
        ("intervals", _F, (2,)),
        ("scaled", _F, (3,)),
        ("peer", _F, (4,)),
        # The learned heading: angle [rad], share, variance [rad^2].
        ("heading", _F, (3,)),
        # What comes out, the share of the inclination filter in it, the stamp [s] of the newest sample.
        ("out", _F, (OUT,)),
        ("trust", _F),
        ("stamp", _F),
        ("counts", np.int64, (len(COUNTED),)),
        # Work space.
        ("space", _F, (SPACE, 3, 3)),
        ("w", _F, (3,)),
        ("phi", _F, (inclination.ROWS, _N)),
        ("rows", _F, (inclination.ROWS, _N)),
        ("dx", _F, (_N,)),
        ("world", _F, (3,)),
    ]
)


class State:
    """A new state.

    Attributes:
        packed: (1,) record of `LAYOUT`, changed by compiled code. Its arrays are attributes by their names.
    """

    R: np.ndarray
    x: np.ndarray
    P: np.ndarray
    sums: np.ndarray
    memory: np.ndarray
    bank: np.ndarray
    found: np.ndarray
    clock: np.ndarray
    mean: np.ndarray
    carried: np.ndarray
    peer: np.ndarray
    heading: np.ndarray
    out: np.ndarray
    counts: np.ndarray

    def __init__(self) -> None:
        self.packed = np.zeros(1, LAYOUT)
        for name in State.__annotations__:
            setattr(self, name, self.packed[name][0])
        self.R[:] = np.eye(3)
        self.packed["ring"][0, 0] = np.eye(3)
        self.packed["stamps"] = -np.inf
        self.packed["field_stamp"] = self.packed["trust"] = self.packed["stamp"] = np.nan
        compiled_vqf.begin(self.packed["vqf"])

    def begin(self, accel: np.ndarray, constants: Constants) -> None:
        """First state of the inclination filter from one specific force (3,) [m/s^2]."""
        inclination.begin(self.R, self.x, self.P, self.sums, self.memory, accel, constants)

    def queued(self) -> tuple[np.ndarray, np.ndarray]:
        """Stamps (N,) [s] and fields (N, 3) that wait for their time, in their order."""
        at = (self.packed["first"][0] + np.arange(self.packed["waiting"][0])) % QUEUE
        return self.packed["queue_stamps"][0][at], self.packed["queue"][0][at]

    @property
    def stamp(self) -> float:
        """[s] of the newest sample; NaN before the start."""
        return self.packed["stamp"].item()

    @property
    def trust(self) -> float:
        """Share of the inclination filter in the inclination; NaN before the first sample."""
        return self.packed["trust"].item()
