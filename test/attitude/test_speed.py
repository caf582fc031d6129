"""The bench: every row with its bar, on a motion that is one."""

import re
from pathlib import Path

import pytest

from nn_estimation.attitude import speed
from nn_estimation.attitude.peers import vqf
from nn_estimation.metrics import attitude_metrics

from .trials import write_model


def test_the_motion_is_that_of_a_sensor_in_the_field_of_the_earth() -> None:
    found = speed.motion(6000)
    rows = slice(2000, None)
    metrics = attitude_metrics(vqf(found)[0][rows], found.truth[rows])
    assert metrics["inclination_deg"] < 1.0 and metrics["heading_deg"] < 2.0


def test_every_row_has_its_number_and_what_is_promised_its_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("BATCH", 2500), ("FEW", 300), ("WARM", 1500), ("RUNS", 1)):
        monkeypatch.setattr(speed, name, value)
    said = speed.report(write_model(tmp_path / "attitude.onnx"))
    called = re.search(r"once published, if it is due +(\d+) ", said)
    assert called and int(called[1]) >= 1, said
    for row in (
        r"vqf package, a recording at once +[\d,]{6,}",
        r"vqf package, sample by sample +[\d,]{5,}",
        r"filter, a recording at once +[\d,]{5,} +300,000",
        r"filter, sample by sample with its covariance +[\d,]{4,}",
        r"network, a recording at once +[\d,]{4,} +50,000",
        r"network, imu/data_raw +300 +\d+ +\d+ +\d+ +\d+",
        r"network, imu/mag +300 +\d+ +\d+ +\d+ +\d+",
    ):
        assert re.search(f"^{row}$", said, re.M), said
