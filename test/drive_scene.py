"""Small drives whose IMU errs exactly as the filter is told, and small models, made without torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from scipy.spatial.transform import Rotation

from nn_estimation.contract import Contract, TensorSpec, attach_contract
from nn_estimation.datasets.recording import Recording
from nn_estimation.dead_reckoning.constants import Constants
from nn_estimation.dead_reckoning.drive import Drive
from nn_estimation.dead_reckoning.filter import GRAVITY

DT = 0.01  # [s]
# A vehicle that starts exactly where it says, with biases and noise as below.
KNOWN = Constants(
    gyro=4e-6, accel=1e-4, gyro_walk=1e-10, accel_walk=1e-8, mount_walk=0.0, lever_walk=0.0, tilt_0=0.0,
    velocity_0=0.0, gyro_bias_0=1e-6, accel_bias_0=1e-3, mount_0=0.0, lever_0=0.0, lateral=1.0, vertical=10.0,
)  # fmt: skip


def drive(
    seed: int = 0, seconds: float = 60.0, speed: float = 10.0, constants: Constants = KNOWN, sway: float = 0.0
) -> Drive:
    """A car that winds along a road without slip, by the discrete steps of the filter itself.

    With a sway [m/s] it moves sideways and up as well, as what flies does.
    """
    rng = np.random.default_rng(seed)
    stamp = 1.0 + DT * np.arange(round(seconds / DT) + 1)
    phase = rng.uniform(0.0, 6.0, 3)
    turn = 0.3 * np.sin(0.25 * stamp + phase[0]) * np.sin(0.06 * stamp + phase[1])
    forward = speed * (1.0 + 0.3 * np.sin(0.2 * stamp + phase[2]))
    heading = np.cumsum(turn) * DT
    R = Rotation.from_euler("z", heading[:, None]).as_matrix()
    velocity = forward[:, None] * R[:, :, 0]
    velocity += sway * np.sin(3.0 * stamp)[:, None] * (R[:, :, 1] + R[:, :, 2])
    acceleration = np.diff(velocity, axis=0) / DT
    position = np.zeros_like(velocity)
    position[1:] = np.cumsum(velocity[:-1] * DT + 0.5 * acceleration * DT**2, axis=0)
    accel = np.empty_like(velocity)
    accel[1:] = np.einsum("nji,nj->ni", R[:-1], acceleration + np.array([0.0, 0.0, GRAVITY]))
    accel[0] = accel[1]
    gyro = np.column_stack([0.0 * turn, 0.0 * turn, turn])
    count = len(stamp)
    for signal, white, walk, first in (
        (gyro, constants.gyro, constants.gyro_walk, constants.gyro_bias_0),
        (accel, constants.accel, constants.accel_walk, constants.accel_bias_0),
    ):
        bias = np.sqrt(first) * rng.standard_normal(3)
        steps = np.sqrt(walk * DT) * rng.standard_normal((count, 3))
        signal += bias + np.cumsum(steps, axis=0) + np.sqrt(white / DT) * rng.standard_normal((count, 3))
    return Drive(f"road{seed}", stamp, gyro, accel, R, position, velocity, np.ones(count, dtype=bool))


def write_bag(found: Drive, folder: Path, **scored: object) -> Path:
    """The drive as a bag."""
    recording = Recording(found.name, "simulated", "CC0-1.0", scored=scored)
    recording.add_imu("imu/data_raw", found.stamp, found.gyro, found.accel)
    in_body = np.einsum("nji,nj->ni", found.R, found.velocity)
    quaternion = Rotation.from_matrix(found.R).as_quat()
    recording.add_truth(found.stamp, found.position, quaternion, in_body, "imu_link")
    return recording.write(folder)


def write_model(
    path: Path,
    tuned: Constants = KNOWN,
    network: Constants | None = None,
    says: float = 0.0,
    **parameters: object,
) -> Path:
    """A model whose log-variances are those of its constants plus `says` times the yaw rate."""
    network = network or tuned
    log_variance = np.log([[network.lateral, network.vertical]]).astype(np.float32)
    constants = {
        "weights": np.full((1, 2), says, np.float32),
        "log": log_variance,
        "none": np.zeros((1, 2), np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["features", "none"], ["mean"]),
        helper.make_node("MatMul", ["features", "weights"], ["said"]),
        helper.make_node("Add", ["said", "log"], ["logarithm"]),
        helper.make_node("Exp", ["logarithm"], ["variance"]),
    ]
    graph = helper.make_graph(
        nodes,
        "slip",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 1])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2])
            for name in ("mean", "variance")
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    given = {"tuned": tuned._asdict(), "network": network._asdict(), **parameters}
    attach_contract(model, replace(CONTRACT, parameters=given))
    path.write_bytes(model.SerializeToString())
    return path


CONTRACT = Contract(
    task="dead_reckoning",
    inputs=(TensorSpec("features", "float32", ("batch", 1), "rad/s", "imu"),),
    outputs=(
        TensorSpec("mean", "float32", ("batch", 2), "m/s", "vehicle"),
        TensorSpec("variance", "float32", ("batch", 2), "m^2/s^2", "vehicle"),
    ),
    features=("gyro_z_mean_0.5s",),
    valid_range=((-1.0, 1.0),),
    parameters={},
    training={},
    metrics={},
    licence="CC0-1.0",
    package_version="0",
    rate=100.0,
)
