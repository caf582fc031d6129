"""VQF (Laidig & Seel 2023) in compiled code, in the units of the paper and with its default parameters.

Where the paper leaves a detail open it is that of the package `vqf` by its authors, which gives the same numbers to
rounding and is what this is tested against. Here it is a part of one compiled step a sample, which a call from Python
into the package would cut in three.

Three frames: sensor, an almost inertial one of strapdown integration, and the earth's, first by gravity, then by the
field too. Quaternions are w, x, y, z. Samples of gyro and accelerometer have one interval, fields another.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nn_estimation.attitude.low_pass import butterworth, low_pass
from nn_estimation.filters import matrix, wrapped

TAU_ACCEL, TAU_MAG = 3.0, 9.0  # [s] of the corrections by gravity and by the field
BIAS_SIGMA_0, BIAS_SIGMA_MOTION, BIAS_SIGMA_REST = 0.5, 0.1, 0.03  # [deg/s]
BIAS_FORGETTING = 100.0  # [s] in which the deviation of the bias grows from 0 to 0.1 deg/s
VERTICAL_FORGETTING = 1e-4  # of the vertical part of the bias in motion, which nothing shows
BIAS_CLIP = math.radians(2.0)  # [rad/s]
REST_TIME, REST_TAU = 1.5, 0.5  # [s]
REST_GYRO, REST_ACCEL = math.radians(2.0), 0.5  # [rad/s], [m/s^2] deviations from the low pass
NORM_TOLERANCE, DIP_TOLERANCE = 0.1, math.radians(10.0)  # of an undisturbed field
CURRENT_TAU, REFERENCE_TAU = 0.05, 20.0  # [s] of norm and dip now, and of the place
NEW_TIME, NEW_FIRST_TIME, NEW_TURN = 20.0, 5.0, math.radians(20.0)  # [s], [s], [rad/s] to accept a new field
UNDISTURBED_TIME = 0.5  # [s] of a good field until it counts
REJECTION_TIME, REJECTION_FACTOR = 60.0, 2.0  # [s] a disturbed field is left out, and how it counts then

_F = np.float64
LAYOUT = np.dtype(
    [
        # What follows from the intervals: see `retime`. Low passes are b0, b1, b2, a1, a2.
        ("interval", _F),  # [s] of samples
        ("field_interval", _F),  # [s] of fields
        ("accel_pass", _F, (5,)),
        ("rest_pass", _F, (5,)),
        ("field_pass", _F, (5,)),
        ("field_gain", _F),
        ("reference_gain", _F),
        ("bias_growth", _F),  # variances of the bias are in (0.01 deg/s)^2
        ("motion_noise", _F),
        ("rest_noise", _F),
        # The estimate.
        ("inertial", _F, (4,)),  # sensor to almost inertial
        ("level", _F, (4,)),  # almost inertial to earth, by gravity
        ("delta", _F),  # [rad] heading of that in the earth's frame
        ("bias", _F, (3,)),  # [rad/s]
        ("P", _F, (3, 3)),
        # Memories of low passes, NaN before the first value.
        ("accel_memory", _F, (2, 3)),
        ("R_memory", _F, (2, 9)),
        ("bias_memory", _F, (2, 2)),
        ("rest_gyro_memory", _F, (2, 3)),
        ("rest_accel_memory", _F, (2, 3)),
        ("field_memory", _F, (2, 2)),
        # Rest.
        ("rest", np.int64),
        ("rest_time", _F),
        ("rest_gyro", _F, (3,)),  # [rad/s] low pass
        # The field.
        ("disturbed", np.int64),
        ("undisturbed_time", _F),
        ("rejected_time", _F),
        ("reference", _F, (2,)),  # norm and dip [rad] of the place
        ("candidate", _F, (2,)),  # of a new place
        ("candidate_time", _F),
        ("first_gain", _F),  # 1/n in the first fields
        # Work space.
        ("R", _F, (3, 3)),
        ("K", _F, (3, 3)),
        ("S", _F, (3, 3)),
        ("vector", _F, (3,)),
        ("filtered", _F, (3,)),
        ("error", _F, (3,)),
        ("noise", _F, (3,)),
        ("pair", _F, (2,)),
        ("q", _F, (4,)),
    ]
)
_MEMORIES = "accel_memory", "R_memory", "bias_memory", "rest_gyro_memory", "rest_accel_memory", "field_memory"


def begin(v: np.ndarray) -> None:
    """Start: v is a record, or an array of records, of `LAYOUT`; `retime` is to follow."""
    v[...] = np.zeros((), LAYOUT)
    v["inertial"][..., 0] = v["level"][..., 0] = 1.0
    v["P"][...] = (100.0 * BIAS_SIGMA_0) ** 2 * np.eye(3)
    for name in _MEMORIES:
        v[name][...] = np.nan
    v["disturbed"], v["rejected_time"], v["candidate"][..., 0], v["first_gain"] = 1, REJECTION_TIME, -1.0, 1.0


@njit(cache=True)
def retime(v, interval, field_interval):  # type: ignore[no-untyped-def]
    """Set the intervals [s] of samples and fields; the estimate and the memories go on.

    Args:
        v: record of `LAYOUT`; changed.
        interval: [s] of gyro and accelerometer.
        field_interval: [s].
    """
    v.interval, v.field_interval = interval, field_interval
    butterworth(TAU_ACCEL, interval, v.accel_pass)
    butterworth(REST_TAU, interval, v.rest_pass)
    butterworth(CURRENT_TAU, field_interval, v.field_pass)
    v.field_gain = 1.0 - math.exp(-field_interval / TAU_MAG)
    v.reference_gain = 1.0 - math.exp(-field_interval / REFERENCE_TAU)
    v.bias_growth = (100.0 * 0.1) ** 2 * interval / BIAS_FORGETTING
    # The noise with which the variance settles at what is wanted (sec. 3.3 of the paper).
    motion, rest = (100.0 * BIAS_SIGMA_MOTION) ** 2, (100.0 * BIAS_SIGMA_REST) ** 2
    v.motion_noise = motion * motion / v.bias_growth + motion
    v.rest_noise = rest * rest / v.bias_growth + rest


@njit(cache=True)
def update(v, gyro, accel, field, heard):  # type: ignore[no-untyped-def]
    """One sample.

    Args:
        v: record of `LAYOUT`; changed.
        gyro: (3,) [rad/s].
        accel: (3,) [m/s^2], not zero.
        field: (3,) any unit, not zero where it counts.
        heard: whether the field counts.
    """
    _turn(v, gyro)
    _level(v, accel)
    _learn_bias(v)
    if heard:
        _point(v, field)


@njit(cache=True)
def attitude(v, out):  # type: ignore[no-untyped-def]
    """Quaternion (4,) w, x, y, z from the sensor to east, north, up."""
    q = v.q
    _product(v.level, v.inertial, q)
    c, s = math.cos(0.5 * v.delta), math.sin(0.5 * v.delta)
    out[0], out[1] = c * q[0] - s * q[3], c * q[1] - s * q[2]
    out[2], out[3] = c * q[2] + s * q[1], c * q[3] + s * q[0]


@njit(cache=True)
def _turn(v, gyro):  # type: ignore[no-untyped-def]
    """Strapdown integration, and whether the gyro is at rest."""
    low = v.rest_gyro
    low_pass(gyro, REST_TAU, v.interval, v.rest_pass, v.rest_gyro_memory, low)
    square = fastest = 0.0
    for i in range(3):
        square += (gyro[i] - low[i]) ** 2
        fastest = max(fastest, abs(low[i]))
    if square >= REST_GYRO * REST_GYRO or fastest > BIAS_CLIP:
        v.rest_time, v.rest = 0.0, 0
    w0, w1, w2 = gyro[0] - v.bias[0], gyro[1] - v.bias[1], gyro[2] - v.bias[2]
    rate = math.sqrt(w0 * w0 + w1 * w1 + w2 * w2)
    if rate > 2.220446049250313e-16:
        s = math.sin(0.5 * rate * v.interval) / rate
        step, q = v.q, v.inertial
        step[0] = math.cos(0.5 * rate * v.interval)
        step[1], step[2], step[3] = s * w0, s * w1, s * w2
        _product(q, step, q)
        _normalise(q)


@njit(cache=True)
def _level(v, accel):  # type: ignore[no-untyped-def]
    """Correction by gravity, and whether the accelerometer is at rest; leaves gravity in `vector`."""
    low, earth = v.filtered, v.vector
    low_pass(accel, REST_TAU, v.interval, v.rest_pass, v.rest_accel_memory, low)
    square = 0.0
    for i in range(3):
        square += (accel[i] - low[i]) ** 2
    if square >= REST_ACCEL * REST_ACCEL:
        v.rest_time, v.rest = 0.0, 0
    else:
        v.rest_time += v.interval
        if v.rest_time >= REST_TIME:
            v.rest = 1
    _rotate(v.inertial, accel, earth)
    low_pass(earth, TAU_ACCEL, v.interval, v.accel_pass, v.accel_memory, low)
    _rotate(v.level, low, earth)
    _normalise(earth)
    q, w = v.q, math.sqrt(0.5 * (earth[2] + 1.0))
    if w > 1e-6:
        q[0], q[1], q[2], q[3] = w, 0.5 * earth[1] / w, -0.5 * earth[0] / w, 0.0
    else:
        q[0], q[1], q[2], q[3] = 0.0, 1.0, 0.0, 0.0
    _product(q, v.level, v.level)
    _normalise(v.level)


@njit(cache=True)
def _learn_bias(v):  # type: ignore[no-untyped-def]
    """Kalman filter of the gyro bias: at rest by the gyro, in motion by the correction that gravity needed."""
    R, bias, gravity, error, noise, P = v.R, v.bias, v.vector, v.error, v.noise, v.P
    _product(v.level, v.inertial, v.q)
    matrix(v.q, R)
    seen = v.pair
    for i in range(2):
        seen[i] = R[i, 0] * bias[0] + R[i, 1] * bias[1] + R[i, 2] * bias[2]
    low_pass(R.reshape(9), TAU_ACCEL, v.interval, v.accel_pass, v.R_memory, R.reshape(9))
    low_pass(seen, TAU_ACCEL, v.interval, v.accel_pass, v.bias_memory, seen)
    if v.rest:
        R[:] = 0.0
        for i in range(3):
            R[i, i] = 1.0
            error[i] = v.rest_gyro[i] - bias[i]
            noise[i] = v.rest_noise
    else:
        error[0] = seen[0] - gravity[1] / v.interval
        error[1] = seen[1] + gravity[0] / v.interval
        error[2] = 0.0
        for i in range(3):
            error[i] -= R[i, 0] * bias[0] + R[i, 1] * bias[1] + R[i, 2] * bias[2]
            noise[i] = v.motion_noise
        noise[2] /= VERTICAL_FORGETTING
    for i in range(3):
        if P[i, i] < (100.0 * BIAS_SIGMA_0) ** 2:
            P[i, i] += v.bias_growth
    _correct(P, R, noise, error, bias, v.S, v.K)


@njit(cache=True)
def _correct(P, R, noise, error, bias, S, K):  # type: ignore[no-untyped-def]
    """A measurement of three values with Jacobian R (3, 3) and variances `noise` (3,); K and S are work space."""
    for i in range(3):  # K = P R'
        for j in range(3):
            K[i, j] = P[i, 0] * R[j, 0] + P[i, 1] * R[j, 1] + P[i, 2] * R[j, 2]
    for i in range(3):
        for j in range(3):
            S[i, j] = R[i, 0] * K[0, j] + R[i, 1] * K[1, j] + R[i, 2] * K[2, j]
        S[i, i] += noise[i]
    _invert(S)
    for i in range(3):
        a, b, c = K[i, 0], K[i, 1], K[i, 2]
        for j in range(3):
            K[i, j] = a * S[0, j] + b * S[1, j] + c * S[2, j]
    for i in range(3):
        error[i] = min(max(error[i], -BIAS_CLIP), BIAS_CLIP)
    for i in range(3):
        value = bias[i] + K[i, 0] * error[0] + K[i, 1] * error[1] + K[i, 2] * error[2]
        bias[i] = min(max(value, -BIAS_CLIP), BIAS_CLIP)
    for i in range(3):  # S = R P
        for j in range(3):
            S[i, j] = R[i, 0] * P[0, j] + R[i, 1] * P[1, j] + R[i, 2] * P[2, j]
    for i in range(3):
        for j in range(3):
            P[i, j] -= K[i, 0] * S[0, j] + K[i, 1] * S[1, j] + K[i, 2] * S[2, j]


@njit(cache=True)
def _point(v, field):  # type: ignore[no-untyped-def]
    """Correction of the heading by the field, as far as it is not disturbed."""
    earth, seen, step = v.vector, v.pair, v.field_interval
    _product(v.level, v.inertial, v.q)
    _rotate(v.q, field, earth)
    seen[0] = math.sqrt(earth[0] ** 2 + earth[1] ** 2 + earth[2] ** 2)
    seen[1] = -math.asin(earth[2] / seen[0])
    low_pass(seen, CURRENT_TAU, step, v.field_pass, v.field_memory, seen)
    _judge(v, seen, step)
    off = wrapped(math.atan2(earth[0], earth[1]) - v.delta)
    gain = v.field_gain
    if not v.disturbed:
        v.rejected_time = max(v.rejected_time - REJECTION_FACTOR * step, 0.0)
    elif v.rejected_time <= REJECTION_TIME:
        v.rejected_time += step
        gain = 0.0
    else:
        gain /= REJECTION_FACTOR
    if v.first_gain != 0.0:
        gain = max(gain, v.first_gain)
        v.first_gain /= v.first_gain + 1.0
        if v.first_gain * TAU_MAG < step:
            v.first_gain = 0.0
    v.delta = wrapped(v.delta + gain * off)


@njit(cache=True)
def _judge(v, seen, step):  # type: ignore[no-untyped-def]
    """Whether norm and dip (2,) are those of the place, or of a new one."""
    reference, candidate = v.reference, v.candidate
    if _alike(seen, reference):
        v.undisturbed_time += step
        if v.undisturbed_time >= UNDISTURBED_TIME:
            v.disturbed = 0
            for i in range(2):
                reference[i] += v.reference_gain * (seen[i] - reference[i])
    else:
        v.undisturbed_time, v.disturbed = 0.0, 1
    if not _alike(seen, candidate):
        v.candidate_time = 0.0
        for i in range(2):
            candidate[i] = seen[i]
        return
    low = v.rest_gyro
    if math.sqrt(low[0] ** 2 + low[1] ** 2 + low[2] ** 2) >= NEW_TURN:
        v.candidate_time += step
    for i in range(2):
        candidate[i] += v.reference_gain * (seen[i] - candidate[i])
    wanted = NEW_FIRST_TIME if reference[0] == 0.0 else NEW_TIME
    if v.disturbed and v.candidate_time >= wanted:
        for i in range(2):
            reference[i] = candidate[i]
        v.disturbed, v.undisturbed_time = 0, UNDISTURBED_TIME


@njit(cache=True)
def _alike(seen, known):  # type: ignore[no-untyped-def]
    return abs(seen[0] - known[0]) < NORM_TOLERANCE * known[0] and abs(seen[1] - known[1]) < DIP_TOLERANCE


@njit(cache=True)
def _product(a, b, out):  # type: ignore[no-untyped-def]
    """Quaternion product, w, x, y, z; out may be a or b."""
    w = a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3]
    x = a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2]
    y = a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1]
    z = a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0]
    out[0], out[1], out[2], out[3] = w, x, y, z


@njit(cache=True)
def _rotate(q, vector, out):  # type: ignore[no-untyped-def]
    """A vector (3,) turned by q, into another (3,)."""
    w, x, y, z = q[0], q[1], q[2], q[3]
    a, b, c = vector[0], vector[1], vector[2]
    out[0] = (1 - 2 * y * y - 2 * z * z) * a + 2 * (x * y - w * z) * b + 2 * (w * y + x * z) * c
    out[1] = 2 * (w * z + x * y) * a + (1 - 2 * x * x - 2 * z * z) * b + 2 * (y * z - w * x) * c
    out[2] = 2 * (x * z - w * y) * a + 2 * (w * x + y * z) * b + (1 - 2 * x * x - 2 * y * y) * c


@njit(cache=True)
def _normalise(vector):  # type: ignore[no-untyped-def]
    square = 0.0
    for i in range(vector.shape[0]):
        square += vector[i] * vector[i]
    if square > 0.0:
        size = math.sqrt(square)
        for i in range(vector.shape[0]):
            vector[i] /= size


@njit(cache=True)
def _invert(S):  # type: ignore[no-untyped-def]
    """S (3, 3) <- its inverse, by cofactors."""
    a, b, c = S[0, 0], S[0, 1], S[0, 2]
    d, e, f = S[1, 0], S[1, 1], S[1, 2]
    g, h, i = S[2, 0], S[2, 1], S[2, 2]
    A, B, C = e * i - f * h, f * g - d * i, d * h - e * g
    det = a * A + b * B + c * C
    S[0, 0], S[1, 0], S[2, 0] = A / det, B / det, C / det
    S[0, 1], S[1, 1], S[2, 1] = (c * h - b * i) / det, (a * i - c * g) / det, (b * g - a * h) / det
    S[0, 2], S[1, 2], S[2, 2] = (b * f - c * e) / det, (c * d - a * f) / det, (a * e - b * d) / det
