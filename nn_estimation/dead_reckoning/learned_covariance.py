"""The learned covariance: what the network says of the vehicle's slip now, with the constants to fall back on."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.features import FeatureBank
from nn_estimation.inference import Model, ModelError

TENSORS = {"features", "mean", "variance"}
BY_MODEL, STARTING, OUT_OF_RANGE, FAILED = range(4)
REASONS = ("network", "starting", "out of range", "network failed")


class LearnedCovariance:
    """Mean and variance of the lateral and vertical pseudo-measurement, ten times a second.

    The network looks once the sample that is due for it has been dealt with, and what it says counts from the next
    one on: no estimate waits for it. It sees no state of the filter, so a whole recording can be looked at before
    the filter runs.

    Args:
        model: of the task dead_reckoning.
        constants: of the filter it was trained with; give the fallback.

    Attributes:
        mean: (2,) [m/s] of now.
        variance: (2,) [m^2/s^2] of now.
        reason: index into REASONS of now.
        counts: of looks by reason.
        rate: [Hz] of the IMU it was trained on, None for any.
    """

    def __init__(self, model: Model, constants: Constants) -> None:
        contract = model.contract
        self.bank = FeatureBank(contract.features)
        self.rate = contract.rate
        self._longest = constants.longest_step
        self._constant = np.array([constants.lateral, constants.vertical])
        self._low, self._high = np.array(contract.valid_range, dtype=np.float64).T.copy()
        self._model = model
        self._bound = model.bind({"features": (1, len(contract.features))})
        self.counts = dict.fromkeys(REASONS, 0)
        self.reset()

    def reset(self) -> None:
        """Forget all samples; the counts stay."""
        self.bank.reset()
        self.mean, self.variance, self.reason = np.zeros(2), self._constant.copy(), STARTING
        self._due = False

    def update(self, gyro: np.ndarray, accel: np.ndarray, dt: float) -> None:
        """Take in a sample (3,) [rad/s], (3,) [m/s^2], dt [s] after the one before."""
        self.think()
        if dt > self._longest:
            self.reset()
        else:
            self._due = self.bank.update(gyro, accel, dt)

    def think(self) -> None:
        """Look, where that is due; the next sample would do it first."""
        if not self._due:
            return
        self._due = False
        if self.bank.clock[0] < self.bank.settles:
            self.reason = STARTING
        elif not self.bank.look(self._low, self._high, self._bound.inputs["features"]):
            self.reason = OUT_OF_RANGE
        else:
            self.reason = BY_MODEL if self._ask() else FAILED
        if self.reason != BY_MODEL:
            self.mean[:], self.variance[:] = 0.0, self._constant
        self.counts[REASONS[self.reason]] += 1

    def _ask(self) -> bool:
        """Whether the network said something sound of the features it was given."""
        try:
            self._bound()
        except ModelError:
            return False
        said = self._bound.outputs
        return _believe(said["mean"], said["variance"], self.mean, self.variance)

    def batch(
        self, stamp: np.ndarray, gyro: np.ndarray, accel: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
        """What counts at each of N samples of a recording, as `update` and `think` find it.

        Returns:
            (N, 2) means [m/s], (N, 2) variances [m^2/s^2], and the number of looks by reason.
        """
        bank = FeatureBank(self.bank.names)
        rows, features, age = bank.batch(stamp, gyro, accel, self._longest)
        reason = np.full(len(rows), BY_MODEL)
        reason[((features < self._low) | (features > self._high)).any(axis=1)] = OUT_OF_RANGE
        reason[age < bank.settles] = STARTING
        found = self._model.run({"features": features.astype(np.float32)}) if len(rows) else {}
        mean, variance = np.zeros((len(stamp), 2)), np.tile(self._constant, (len(stamp), 1))
        if len(rows):
            sound = np.isfinite(found["mean"]).all(axis=1) & np.isfinite(found["variance"]).all(axis=1)
            sound &= (found["variance"] > 0).all(axis=1)
            reason[(reason == BY_MODEL) & ~sound] = FAILED
            use = (reason == BY_MODEL)[:, None]
            looks = np.where(use, found["mean"], 0.0), np.where(use, found["variance"], self._constant)
            held = np.searchsorted(rows, np.arange(len(stamp)), side="left") - 1
            known = held >= 0
            mean[known], variance[known] = looks[0][held[known]], looks[1][held[known]]
            for gap in np.flatnonzero(np.diff(stamp) > self._longest) + 1:
                end = rows[rows >= gap][0] + 1 if (rows >= gap).any() else len(stamp)
                mean[gap:end], variance[gap:end] = 0.0, self._constant
        return mean, variance, {name: int((reason == n).sum()) for n, name in enumerate(REASONS)}


@njit(cache=True)
def _believe(said_mean, said_variance, mean, variance):  # type: ignore[no-untyped-def]
    """Take over what the network said (1, 2), (1, 2), unless that is no mean or no variance; True where it was."""
    for n in range(2):
        if not (math.isfinite(said_mean[0, n]) and 0.0 < said_variance[0, n] < math.inf):
            return False
    for n in range(2):
        mean[n], variance[n] = said_mean[0, n], said_variance[0, n]
    return True
