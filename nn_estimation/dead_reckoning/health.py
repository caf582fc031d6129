"""Health of a running estimator: what is wrong with its samples, its sources and its assumption, and what to do."""

from __future__ import annotations

import math

import numpy as np

from nn_estimation.dead_reckoning.learned_covariance import BY_MODEL, REASONS
from nn_estimation.dead_reckoning.stream import IMU_TOPIC, WHEEL_TOPIC, DeadReckoningStream

SILENT_AFTER = 1.0  # [s] without a sample
LOST_AFTER = 2.0  # [s] without a believed measurement of a source that has been believed before


def health(stream: DeadReckoningStream) -> list[tuple[str, str, dict[str, object]]]:
    """(aspect, what is wrong or empty, values) of input, signals, network, aiding and estimate.

    Messages that were not used are a problem once: at the first call after them.
    """
    return [_input(stream), _signals(stream), _network(stream), _aiding(stream), _estimate(stream)]


def _input(stream: DeadReckoningStream) -> tuple[str, str, dict[str, object]]:
    values: dict[str, object] = dict(stream.counts)
    values |= {name: stream.estimator.counts[name] for name in ("sample", "gap", "standstill")}
    values["saturated"] = stream.checks.saturated
    values["rate [Hz]"] = stream.checks.rate
    problems = [f"{count} with {reason}" for reason, count in stream.take_recent().items()]
    if math.isnan(stream.silence):
        problems.insert(0, f"no samples yet on {IMU_TOPIC}")
    elif stream.silence > SILENT_AFTER:
        problems.insert(0, f"no samples for {stream.silence:.1f} s on {IMU_TOPIC}")
    return "input", "; ".join(problems), values


def _signals(stream: DeadReckoningStream) -> tuple[str, str, dict[str, object]]:
    checks = stream.checks
    values: dict[str, object] = {"innovation, 1 as expected": checks.innovation}
    if checks.fault:
        return "signals", f"{checks.fault}; nothing is published", values
    if checks.slips:
        return (
            "signals",
            f"it moves as no vehicle does that neither slips nor flies: innovations are {checks.innovation:.1f} "
            "times what is expected; the odometry is not to be trusted",
            values,
        )
    return "signals", "", values


def _network(stream: DeadReckoningStream) -> tuple[str, str, dict[str, object]]:
    network = stream.setup.network
    values: dict[str, object] = {"method": stream.setup.method}
    if network is None:
        return "network", "", values
    mean, variance = stream.estimator.expected
    values |= {**network.counts, "lateral std [m/s]": float(variance[0] ** 0.5)}
    values |= {"vertical std [m/s]": float(variance[1] ** 0.5), "lateral mean [m/s]": float(mean[0])}
    if stream.other_rate:
        return (
            "network",
            f"off: the IMU runs at {stream.checks.rate:.0f} Hz and the model was trained at {network.rate:.0f} Hz; "
            "the constants hold",
            values,
        )
    if stream.estimator.state is not None and network.reason > 1:
        return "network", f"{REASONS[network.reason]}: the constants hold", values
    values["speaks"] = network.reason == BY_MODEL
    return "network", "", values


def _aiding(stream: DeadReckoningStream) -> tuple[str, str, dict[str, object]]:
    values: dict[str, object] = {}
    problems = []
    state = stream.estimator.state
    for name, source in stream.aided.sources.items():
        values |= {f"{name} {outcome}": count for outcome, count in source.counts.items()}
        values[f"{name} test ratio"] = source.ratio
        if state is None:
            continue
        age = state.stamp - source.last
        if source.ratio > 1.0:
            problems.append(f"{name} is refused, {source.ratio:.0f} times beyond the gate")
        elif LOST_AFTER < age < math.inf and name != WHEEL_TOPIC:
            problems.append(f"dead reckoning for {age:.0f} s: {name} is not heard")
        values[f"{name} age [s]"] = age
    return "aiding", "; ".join(problems), values


def _estimate(stream: DeadReckoningStream) -> tuple[str, str, dict[str, object]]:
    found = stream.estimator.estimate()
    if found is None:
        return "estimate", f"waits for {stream.waits_for}", {}
    state = stream.estimator.state
    assert state is not None
    return (
        "estimate",
        "",
        {
            "position std [m]": float(np.sqrt(np.trace(found.covariance[:3, :3]))),
            "heading std [deg]": float(np.degrees(np.sqrt(found.covariance[5, 5]))),
            "speed [m/s]": float(np.linalg.norm(found.velocity)),
            "gyro bias z [deg/s]": float(np.degrees(state.gyro_bias[2])),
            "accelerometer bias x [m/s^2]": float(state.accel_bias[0]),
        },
    )
