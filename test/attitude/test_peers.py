"""The published filters: what they are fed, in which frame they answer, and what a latency is worth."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nn_estimation.attitude.peers import PEERS, carried_forward, installed, versions, vqf
from nn_estimation.metrics import attitude_metrics

from .trials import trial

package = pytest.importorskip("vqf", reason="the published VQF is not installed: pip install vqf")


def test_the_row_vqf_is_the_package_with_its_defaults() -> None:
    found = trial()
    quaternion, bias = vqf(found)
    theirs = package.VQF(0.01).updateBatch(found.gyro, found.accel, found.mag)
    np.testing.assert_array_equal(quaternion[:, [3, 0, 1, 2]], theirs["quat9D"])
    np.testing.assert_array_equal(bias, theirs["bias"])


@pytest.mark.parametrize("every", [1, 4])
def test_a_magnetometer_of_another_rate_is_fed_when_it_comes(every: int) -> None:
    found = trial(mag_every=every)
    online = package.VQF(0.01, 0.01, 0.01 * every)
    expected = np.empty((len(found.stamp), 4))
    for n, (w, a) in enumerate(zip(found.gyro, found.accel, strict=True)):
        online.updateGyr(w)
        online.updateAcc(a)
        if n % every == 0:
            online.updateMag(found.mag[n // every])
        expected[n] = online.getQuat9D()
    np.testing.assert_allclose(vqf(found)[0][:, [3, 0, 1, 2]], expected, atol=1e-12)


def test_without_a_magnetometer_it_is_the_six_axis_filter() -> None:
    found = replace(trial(), mag_stamp=np.empty(0), mag=np.empty((0, 3)))
    theirs = package.VQF(0.01).updateBatch(found.gyro, found.accel)
    np.testing.assert_array_equal(vqf(found)[0][:, [3, 0, 1, 2]], theirs["quat6D"])


def test_a_steady_turn_is_carried_forward_to_where_it_will_be() -> None:
    axis = np.array([0.3, -1.0, 2.0])
    begin = Rotation.from_euler("xyz", [0.4, -0.2, 1.0])
    then = begin * Rotation.from_rotvec(0.05 * axis)
    found = carried_forward(begin.as_quat()[None], axis[None], 0.05)
    assert (Rotation.from_quat(found[0]).inv() * then).magnitude() < 1e-12
    np.testing.assert_allclose(carried_forward(begin.as_quat()[None], axis[None], 0.0)[0], begin.as_quat())


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_that_is_installed_finds_the_attitude_in_our_frame(name: str) -> None:
    peer = PEERS[name]
    pytest.importorskip(peer.package, reason=f"{peer.package} is not installed")
    found = trial()
    rows = slice(len(found.stamp) // 2, None)  # each has a start of its own
    metrics = attitude_metrics(peer.run(found)[rows], found.truth[rows])
    assert metrics["inclination_deg"] < 5.0
    if peer.heading:
        assert metrics["heading_deg"] < 10.0
    assert name in installed() and f"{peer.package} " in versions()


def test_a_peer_that_is_not_installed_has_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert installed() == {} and versions().startswith("vqf ") and "," not in versions()
