"""What the network is told and says, streaming and in batch, and what stands in for it."""

import numpy as np
import pytest

from nn_estimation.dead_reckoning.features import FeatureBank, FeatureError

NAMES = ("gyro_z_mean_0.5s", "accel_x_log_variance_1s", "gyro_y_log_variance_2s")


def signals(count=1500, rate=100.0, seed=0):
    rng = np.random.default_rng(seed)
    stamp = np.cumsum(np.r_[10.0, (1.0 + 0.2 * rng.random(count - 1)) / rate])
    return (
        stamp,
        0.1 * rng.standard_normal((count, 3)),
        rng.standard_normal((count, 3)) + np.array([0, 0, 9.8]),
    )


def streamed(bank, stamp, gyro, accel, longest=0.25):
    bank.reset()
    rows, found = [], []
    for i in range(1, len(stamp)):
        dt = stamp[i] - stamp[i - 1]
        if not dt > 0:
            continue
        if dt > longest:
            bank.reset()
        elif bank.update(gyro[i], accel[i], dt):
            out = np.empty(len(bank.names))
            bank.read(out)
            rows.append(i)
            found.append(out)
    return np.array(rows), np.array(found)


def test_streaming_and_batch_give_the_same_features_across_gaps():
    stamp, gyro, accel = signals()
    stamp[700:] += 3.0
    rows, features = streamed(FeatureBank(NAMES), stamp, gyro, accel)
    in_batch, batched, _ = FeatureBank(NAMES).batch(stamp, gyro, accel, 0.25)
    np.testing.assert_array_equal(rows, in_batch)
    np.testing.assert_array_equal(features, batched)


def test_features_see_nothing_of_the_future():
    stamp, gyro, accel = signals()
    rows, features, _ = FeatureBank(NAMES).batch(stamp, gyro, accel, 0.25)
    gyro[900:], accel[900:] = 1e3, 1e3
    _, changed, _ = FeatureBank(NAMES).batch(stamp, gyro, accel, 0.25)
    np.testing.assert_array_equal(features[rows < 900], changed[rows < 900])


@pytest.mark.parametrize("rate", [50.0, 200.0, 1000.0])
def test_statistics_of_white_noise_do_not_depend_on_the_rate(rate):
    stamp, gyro, accel = signals(count=int(60 * rate), rate=rate)
    _, features, age = FeatureBank(NAMES).batch(stamp, gyro, accel, 0.25)
    settled = features[age > 4.0]
    assert settled[:, 0].mean() == pytest.approx(0.0, abs=0.02)
    assert settled[:, 1].mean() == pytest.approx(0.0, abs=0.2)
    assert settled[:, 2].mean() == pytest.approx(np.log(0.01), abs=0.2)


@pytest.mark.parametrize(
    "name", ["gyro_w_mean_1s", "mag_x_mean_1s", "gyro_x_median_1s", "gyro_x_mean_s", "gyro_x_mean_0s"]
)
def test_an_unknown_feature_is_named(name):
    with pytest.raises(FeatureError):
        FeatureBank([name])


class TestModelFile:
    """With a small model exported here; torch needed."""

    @pytest.fixture(scope="class")
    def setups(self, tmp_path_factory):
        torch = pytest.importorskip("torch")
        from nn_estimation.contract import Contract, TensorSpec
        from nn_estimation.dead_reckoning.constants import Constants
        from nn_estimation.dead_reckoning.model import load_setups
        from nn_estimation.dead_reckoning.network import SlipNetwork
        from nn_estimation.inference import Model
        from nn_estimation.learning.export import export

        torch.manual_seed(0)
        network = SlipNetwork([0.0] * 3, [1.0, 2.0, 5.0], (11.0, 300.0))
        torch.nn.init.normal_(network.last.weight)
        constants = Constants(lateral=11.0, vertical=300.0, slip=-0.06)
        contract = Contract(
            task="dead_reckoning",
            inputs=(TensorSpec("features", "float32", ("batch", 3)),),
            outputs=(
                TensorSpec("mean", "float32", ("batch", 2), "m/s"),
                TensorSpec("variance", "float32", ("batch", 2), "m^2/s^2"),
            ),
            features=NAMES,
            valid_range=((-0.5, 0.5), (-2.0, 2.0), (-9.0, 0.0)),
            parameters={"tuned": constants._asdict(), "network": constants._asdict()},
            training={},
            metrics={},
            licence="Apache-2.0",
            package_version="0",
            rate=100.0,
        )
        path = tmp_path_factory.mktemp("model") / "dr.onnx"
        export(network.eval(), {"features": torch.zeros(2, 3)}, path, contract)
        return load_setups(Model.load(path))

    @pytest.mark.parametrize("think", [False, True])
    def test_the_filter_gives_the_same_numbers_streaming_and_in_batch(self, setups, think):
        from nn_estimation.dead_reckoning.estimator import DeadReckoning, first_state, track

        c, network = setups["network"].constants, setups["network"].network
        stamp, gyro, accel = signals()
        stamp[700:] += 3.0
        gyro[1000:1200] = 3.0  # out of range
        start = np.zeros(3), np.eye(3), np.array([8.0, 0.0, 0.0])
        found = track(c, stamp, gyro, accel, first_state(c, stamp[0], *start), network=network)
        online = DeadReckoning(c, network=network)
        online.start(stamp[0], *start)
        means = [np.zeros(2)]
        for i in range(1, len(stamp)):
            estimate = online.update(stamp[i], gyro[i], accel[i])
            means.append(network.mean.copy())
            if think:
                online.think()
            np.testing.assert_allclose(estimate.position, found.position[i], atol=1e-6)
        np.testing.assert_allclose(means, found.mean, atol=1e-6)
        assert np.ptp(found.variance[:, 0]) > 0

    def test_no_estimate_waits_for_the_network(self, setups, monkeypatch):
        network = setups["network"].network
        _, gyro, accel = signals(600)
        network.reset()
        asked = []
        monkeypatch.setattr(network, "_ask", lambda: bool(asked.append(len(asked))))
        for i in range(600):
            network.update(gyro[i], accel[i], 0.01)
            if network._due and network.bank.clock[0] >= network.bank.settles:
                break
        assert not asked
        network.think()
        network.think()
        assert len(asked) == 1

    def test_out_of_range_and_fresh_starts_give_the_constants(self, setups):
        network = setups["network"].network
        stamp, gyro, accel = signals()
        _, variance, counts = network.batch(stamp, gyro, accel)
        assert (variance[:300] == [11.0, 300.0]).all() and counts["starting"] > 0
        assert counts["network"] > 0 and counts["out of range"] == 0
        _, variance, counts = network.batch(stamp, gyro + 3.0, accel)
        assert counts["network"] == 0 and counts["out of range"] > 0
        assert (variance == [11.0, 300.0]).all()

    def test_a_failing_network_gives_the_constants(self, setups):
        network = setups["network"].network
        _, gyro, accel = signals(600)
        network.reset()
        for i in range(1, 500):
            network.update(gyro[i], accel[i], 0.01)
            network.think()
        assert network.reason == 0
        bound, network._bound = network._bound, _Nonsense()
        try:
            for i in range(20):
                network.update(gyro[i], accel[i], 0.01)
        finally:
            network._bound = bound
        assert network.reason == 3 and (network.variance == [11.0, 300.0]).all() and (network.mean == 0).all()


class _Nonsense:
    inputs = {"features": np.zeros((1, 3), np.float32)}  # noqa: RUF012
    outputs = {"mean": np.full((1, 2), np.nan), "variance": np.ones((1, 2))}  # noqa: RUF012

    def __call__(self):
        pass
