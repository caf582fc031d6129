"""The bench: every row with its number, and a network that is really called."""

import re
from pathlib import Path

import pytest

from nn_estimation.dead_reckoning import speed

MODEL = Path(__file__).parents[2] / "models" / "dead_reckoning.onnx"


def test_every_kind_of_message_has_its_times_beside_those_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("BATCH", 2000), ("FEW", 300), ("RUNS", 1), ("MESSAGES", 1500)):
        monkeypatch.setattr(speed, name, value)
    said = speed.report(MODEL)
    for row in (r"compiled, a recording at once +[\d,]{5,} +200,000", r"textbook numpy filter +[\d,]{3,}"):
        assert re.search(f"^{row}$", said, re.M), said
    counts = {}
    for kind in ("tuned, a sample", "network, a sample", "network, an Odometry that aids"):
        found = re.search(rf"^{kind} +(\d+) +\d+ +\d+ +\d+ +\d+$", said, re.M)
        assert found is not None, said
        counts[kind] = int(found[1])
    assert counts["network, a sample"] > 1400
    called = re.search(r"^network, once published, if it is due +(\d+) ", said, re.M)
    assert called is not None
    # Ten times a second of both drives, from when its features have settled.
    assert 60 < int(called[1]) < 300
