"""The localization filter as a textbook has it, in plain numpy: the peer that the compiled one is timed against."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.uwb import tracking
from nn_estimation.uwb.bias import Bias
from nn_estimation.uwb.epochs import Epoch
from nn_estimation.uwb.gate import ACCEPTED, INVALID, REJECTED_CHI2, REJECTED_KINEMATIC, kinematic_bound
from nn_estimation.uwb.geometry import NO_ANCHOR
from nn_estimation.uwb.localization import Localization


class TextbookLocalization(Localization):
    """The same estimates as `Localization` without an IMU, from matrix products and Joseph's form."""

    def update(
        self, epoch: Epoch, geometry: np.ndarray, bias: Bias, inflation: np.ndarray, status: np.ndarray
    ) -> np.ndarray:
        """See `Localization`."""
        ratio = np.full(len(status), np.nan)
        dt = epoch.stamp - self._last_accepted
        shut = self.gate.shut(math.sqrt(self.P[8, 8]) if self.mask[8] else 0.0)
        limits = self.gate.params
        for n in range(len(status)):
            if status[n] == INVALID:
                continue
            H, innovation = self._linearise(epoch, geometry, bias, n)
            S = float(H @ self.P @ H) + bias.variance[n]
            ratio[n] = innovation**2 / (limits.chi2_sigmas**2 * S)
            bound = kinematic_bound(
                dt, math.sqrt(S), limits.max_speed, limits.max_acceleration, limits.noise_sigmas
            )
            status[n] = ACCEPTED
            if shut and abs(innovation) > bound:
                status[n] = REJECTED_KINEMATIC
            elif shut and ratio[n] > 1.0:
                status[n] = REJECTED_CHI2
        accepted = np.flatnonzero(status == ACCEPTED).tolist()
        for n in accepted:
            H, innovation = self._linearise(epoch, geometry, bias, n)
            noise = bias.variance[n]
            scale = self.params.robust_scale**2 * (float(H @ self.P @ H) + noise)
            noise *= inflation[n] * (1.0 + innovation**2 / scale) ** 2
            K = self.P @ H / (float(H @ self.P @ H) + noise)
            left = np.eye(tracking.SIZE) - np.outer(K, H)
            self.P = left @ self.P @ left.T + noise * np.outer(K, K)
            dx = K * innovation
            self.p += dx[tracking.POSITION]
            self.v += dx[tracking.VELOCITY]
            self.rate += dx[tracking.RATE]
            self.accel_bias += dx[tracking.ACCEL_BIAS]
            self.R = self.R @ Rotation.from_rotvec(dx[tracking.ROTATION]).as_matrix()
        if len(accepted):
            self._last_accepted = epoch.stamp
        self._judge(epoch.stamp, ratio)
        return ratio

    def _linearise(self, epoch: Epoch, geometry: np.ndarray, bias: Bias, n: int) -> tuple[np.ndarray, float]:
        """Jacobian (15,) of the predicted range of link n, and the innovation [m]."""
        before, slope = geometry[n], bias.gradient[n]
        (distance, azimuth, elevation), derivatives = self._end(epoch.tag[n], epoch.anchor_a[n])
        predicted, H = distance, derivatives[0]
        if epoch.anchor_b[n] != NO_ANCHOR:
            (far, _, _), far_derivatives = self._end(epoch.tag[n], epoch.anchor_b[n])
            predicted, H = far - distance, far_derivatives[0] - derivatives[0]
        turned = (azimuth - before[1] + math.pi) % (2.0 * math.pi) - math.pi
        moved = np.array([distance - before[0], turned, elevation - before[2]])
        H = np.where(self.mask, H + slope @ derivatives, 0.0)
        return H, epoch.measured[n] - predicted - bias.bias[n] - float(slope @ moved)

    def _end(self, tag: int, anchor: int) -> tuple[tuple[float, float, float], np.ndarray]:
        """Distance [m], azimuth and elevation [rad] of an anchor in a tag's frame; their Jacobian (3, 15)."""
        layout = self.view
        R_body_tag, lever = layout.R_body_tag[tag], layout.tag_positions[tag]
        body = self.R.T @ (layout.anchor_positions[anchor] - self.p)
        x, y, z = R_body_tag.T @ (body - lever)
        rho2 = max(x * x + y * y, 1e-6)
        rho, d2 = math.sqrt(rho2), rho2 + z * z
        d = math.sqrt(d2)
        by_vector = (
            np.array(
                [
                    [x / d, y / d, z / d],
                    [-y / rho2, x / rho2, 0.0],
                    [-x * z / (rho * d2), -y * z / (rho * d2), rho / d2],
                ]
            )
            @ R_body_tag.T
        )
        H = np.zeros((3, tracking.SIZE))
        H[:, tracking.POSITION] = -by_vector @ self.R.T
        H[:, tracking.ROTATION] = np.cross(by_vector, body)
        return (d, math.atan2(y, x), math.atan2(z, rho)), H
