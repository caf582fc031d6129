"""Claims about the warm-up."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__)
MODEL = HERE.parents[2] / "models" / "dead_reckoning.onnx"


def compiled() -> dict[str, int]:
    """Number of signatures of every compiled function of the wing and the ground floor."""
    from numba.core.dispatcher import Dispatcher

    return {
        f"{name}.{each}": len(value.signatures)
        for name, module in list(sys.modules.items())
        if name.startswith("nn_estimation.")
        for each, value in list(vars(module).items())
        if isinstance(value, Dispatcher)
    }


def hear_everything() -> None:
    """All that a node can hear, late and in time, across a gap; for a process of its own."""
    import numpy as np

    from nn_estimation import cdr
    from nn_estimation.dead_reckoning import stream as topics
    from nn_estimation.dead_reckoning.filter import GRAVITY
    from nn_estimation.dead_reckoning.model import load_setups
    from nn_estimation.dead_reckoning.starting import Start
    from nn_estimation.dead_reckoning.warm_up import warm_up
    from nn_estimation.inference import Model

    from .scene import imu, stamp

    setup = load_setups(Model.load(MODEL, provider="cpu"))["network"]
    warm_up(setup)
    before = compiled()
    none, wide, ahead = np.zeros(3), np.eye(6).ravel(), np.array([0.0, 0.0, 0.0, 1.0])
    place = np.array([49.0, 8.0, 100.0])
    for aiding in ("odometry", "fix"):
        params = topics.StreamParams(aiding, True, start=Start(), mounting=(0.0, 0.0, 0.01))
        found = topics.DeadReckoningStream(setup, params)
        for n in range(900):
            if not 800 < n < 850:
                found.feed(topics.IMU_TOPIC, imu(n, none, np.array([0.0, 0.0, GRAVITY])))
            if n % 50:
                continue
            for late in (0, 3, 30):
                ns = round(stamp(n - late) * 1e9)
                fix = cdr.encode_fix(cdr.FixMessage(ns, "", 0, place, np.eye(3).ravel(), 2))
                twist = cdr.encode_twist_covariance(cdr.TwistCovarianceMessage(ns, "", none, none, wide))
                odometry = cdr.OdometryMessage(ns, "", "", none, ahead, wide, none, none, wide)
                heard = {
                    topics.ODOMETRY_TOPIC: cdr.encode_odometry(odometry),
                    topics.FIX_TOPIC: fix,
                    topics.FIX_VELOCITY_TOPIC: twist,
                    topics.WHEEL_TOPIC: twist,
                }
                for topic in heard.keys() & found.topics.keys():
                    found.feed(topic, heard[topic])
        pose = cdr.encode_pose_covariance(cdr.PoseCovarianceMessage(ns, "odom", none, ahead, wide))
        found.feed(topics.SET_POSE_TOPIC, pose)
        assert found.estimator.counts["sample"] > 700
        assert found.aided.source(aiding).counts["accepted"] > 20
    late = {name for name, count in compiled().items() if count > before.get(name, 0)}
    assert not late, f"compiled after the warm-up: {', '.join(sorted(late))}"


def test_a_warm_up_leaves_nothing_to_compile() -> None:
    """A function that is compiled in the middle of a drive stops the node for seconds."""
    script = "from dead_reckoning.test_warm_up import hear_everything; hear_everything()"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=HERE.parents[1], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
