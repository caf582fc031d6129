"""Trials by hand and as bags, and a model made without torch."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from nn_estimation.attitude import features
from nn_estimation.attitude.constants import Constants
from nn_estimation.attitude.trial import Trial
from nn_estimation.contract import DTYPES, Contract, TensorSpec, attach_contract
from nn_estimation.datasets.recording import Recording

from .scene import turned_by_hand

SHAPES = {"features": (len(features.NAMES),), "prior": (3, 3), "prior_variance": (2,), "field": (3,)}
MADE: dict[str, tuple[int, ...]] = {"rotation": (3, 3), "covariance": (3, 3), "heading_std": ()}
WAHBA_CORRELATION, WAHBA_SEED = 20.0, 5  # of the network in the fixture `wahba_model`

NARROW = {"features": "float32", "heading_std": "float32"}


def trial(
    name: str = "hand",
    seed: int = 0,
    seconds: float = 30.0,
    rate: float = 100.0,
    mag_every: int = 1,
    magnet: float = 0.0,
) -> Trial:
    """A sensor turned by hand, with the noise of a small IMU and a gyro bias of half a degree a second.

    A magnet [T] that is fixed to it comes and goes.
    """
    rng = np.random.default_rng(seed)
    motion = turned_by_hand(seconds, rate)
    shape = motion.gyro.shape
    near = (motion.stamp - motion.stamp[0]) % 10.0 > 6.0
    field = motion.field + magnet * np.outer(near, [1.0, 0.0, 0.0])
    return Trial(
        name,
        np.round(motion.stamp, 6),
        motion.gyro + 0.01 * rng.standard_normal(3) + 0.002 * rng.standard_normal(shape),
        motion.accel + 0.05 * rng.standard_normal(shape),
        np.round(motion.stamp[::mag_every], 6),
        (field + 2e-7 * rng.standard_normal(shape))[::mag_every],
        motion.truth.as_quat(),
        np.ones(len(motion.stamp), dtype=bool),
    )


def write_bag(found: Trial, folder: Path, **facts: str) -> Path:
    """The trial as a bag; what is not scored is left to the end of the intervals."""
    made = Recording(found.name, "simulated", "CC0-1.0", facts=facts)
    if not found.scored.all():
        inside = found.stamp[found.scored]
        made.scored["intervals"] = [[float(inside[0]), float(inside[-1])]]
    if len(found.mag):
        made.add_mag("imu/mag", found.mag_stamp, found.mag)
    made.add_imu("imu/data_raw", found.stamp, found.gyro, found.accel)
    made.add_truth(found.stamp, None, found.truth, child="imu_link")
    return made.write(folder)


def write_model(
    path: Path,
    constants: Constants | None = None,
    std: float = 0.02,
    valid: tuple[float, float] = (-100.0, 100.0),
) -> Path:
    """A model that believes no field: its heading is that of the gyro, with a standard deviation [rad].

    It speaks where all features are in the valid range.
    """
    constant = {
        "none": np.zeros(1),
        "variance": (std**2 * np.eye(3))[None],
        "std": np.full(1, std),
        "axis": np.ones(1, np.int64),
    }
    nodes = [
        helper.make_node("Identity", ["prior"], ["rotation"]),
        helper.make_node("Mul", ["prior", "none"], ["nothing"]),
        helper.make_node("Add", ["nothing", "variance"], ["covariance"]),
        helper.make_node("ReduceSum", ["field", "axis"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "none"], ["zero"]),
        helper.make_node("Add", ["zero", "std"], ["wide"]),
        helper.make_node("Cast", ["wide"], ["heading_std"], to=TensorProto.FLOAT),
    ]
    contract = Contract(
        "attitude",
        tuple(
            TensorSpec(name, NARROW.get(name, "float64"), ("batch", *shape)) for name, shape in SHAPES.items()
        ),
        tuple(
            TensorSpec(name, NARROW.get(name, "float64"), ("batch", *shape)) for name, shape in MADE.items()
        ),
        features.NAMES,
        (valid,) * len(features.NAMES),
        {"constants": (constants or Constants())._asdict()},
        {},
        {},
        "CC0-1.0",
        "0",
    )

    def values(specs: tuple[TensorSpec, ...]) -> list[ValueInfoProto]:
        return [helper.make_tensor_value_info(spec.name, DTYPES[spec.dtype], spec.shape) for spec in specs]

    graph = helper.make_graph(
        nodes,
        "attitude",
        values(contract.inputs),
        values(contract.outputs),
        [numpy_helper.from_array(value, name) for name, value in constant.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    attach_contract(model, contract)
    path.write_bytes(model.SerializeToString())
    return path
