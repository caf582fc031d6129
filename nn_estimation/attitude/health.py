"""Health of a running estimator: what is wrong with its samples, its magnetometer and its network, and what to do."""

from __future__ import annotations

import math

import numpy as np

from nn_estimation.attitude.checks import SILENT_AFTER
from nn_estimation.attitude.heading import BY_MODEL, REASONS, STARTING
from nn_estimation.attitude.stream import FAR, FAR_FIELD, IMU_TOPIC, MAG_TOPIC, AttitudeStream


def health(stream: AttitudeStream) -> list[tuple[str, str, dict[str, object]]]:
    """(aspect, what is wrong or empty, values) of input, units, accelerometer, magnetometer, network and estimate.

    Messages that were not used are a problem once: at the first call after them.
    """
    return [
        _input(stream),
        _units(stream),
        ("accelerometer", stream.checks.doubt, {"mean [m/s^2]": stream.checks.watch.size}),
        _magnetometer(stream),
        _network(stream),
        _estimate(stream),
    ]


def _input(stream: AttitudeStream) -> tuple[str, str, dict[str, object]]:
    watch = stream.checks.watch
    values: dict[str, object] = dict(stream.counts)
    values |= {name: stream.estimator.counts[name] for name in ("sample", "gap", "field", "field too late")}
    values |= {"saturated": watch.saturated, "rate [Hz]": watch.rate}
    recent = stream.take_recent()
    problems = [f"{count} with {reason}" for reason, count in recent.items()]
    if FAR_FIELD in recent:
        problems.append(f"a field must be stamped within {FAR:g} s of the samples, by their clock")
    if saturated := stream.take_saturated():
        problems.append(
            f"{saturated} samples at the limit of the sensor: the attitude lost what they left out"
        )
    if math.isnan(stream.silence):
        problems.insert(0, f"no samples yet on {IMU_TOPIC}")
    elif stream.silence > SILENT_AFTER:
        problems.insert(0, f"no samples for {stream.silence:.1f} s on {IMU_TOPIC}")
    return "input", "; ".join(problems), values


def _units(stream: AttitudeStream) -> tuple[str, str, dict[str, object]]:
    fault = stream.checks.fault
    values: dict[str, object] = {"mean turn [rad/s]": stream.checks.watch.turn}
    return "units", f"{fault}; nothing is published" if fault else "", values


def _magnetometer(stream: AttitudeStream) -> tuple[str, str, dict[str, object]]:
    fields = stream.fields
    if not stream.params.use_mag:
        return "magnetometer", "", {"used": False}
    values: dict[str, object] = {"used": True, "unit": fields.unit, "rate [Hz]": fields.rate}
    problem = fields.doubt
    if stream.attitude is not None and math.isnan(fields.last):
        problem = f"no field yet on {MAG_TOPIC}: the heading counts from the start; without one set use_mag to false"
    elif (age := abs(stream.field_age)) > SILENT_AFTER:
        problem = f"no field for {age:.1f} s on {MAG_TOPIC}: the heading is by the gyro alone"
    return "magnetometer", problem, values


def _network(stream: AttitudeStream) -> tuple[str, str, dict[str, object]]:
    network = stream.setup.network
    values: dict[str, object] = {"method": stream.setup.method}
    if network is None:
        return "network", "", values
    values |= {**network.counts, "speaks": network.reason == BY_MODEL}
    values |= {"share of the heading": stream.estimator.heading_share}
    values |= {"std of the field [deg]": math.degrees(network.std)}
    if stream.attitude is not None and network.reason not in (BY_MODEL, STARTING):
        return "network", f"{REASONS[network.reason]}: the heading is that of VQF", values
    return "network", "", values


def _estimate(stream: AttitudeStream) -> tuple[str, str, dict[str, object]]:
    attitude = stream.attitude
    if attitude is None:
        return "estimate", stream.checks.suspicion or "waits for samples", {}
    bias = np.degrees(attitude.gyro_bias)
    return (
        "estimate",
        "",
        {
            "method": attitude.method,
            "trust in the filter": stream.estimator.trust,
            "innovation, 1 as expected": stream.estimator.innovation,
            "restart": stream.estimator.counts["restart"],
            "tilt std [deg]": float(np.degrees(np.sqrt(np.trace(attitude.covariance[:2, :2])))),
            "heading std [deg]": float(np.degrees(np.sqrt(attitude.covariance[2, 2]))),
            **{f"gyro bias {axis} [deg/s]": float(value) for axis, value in zip("xyz", bias, strict=True)},
            "gyro bias std [deg/s]": float(np.degrees(attitude.gyro_bias_std)),
        },
    )
