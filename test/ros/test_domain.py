import subprocess
import sys
from pathlib import Path

import pytest

from nn_estimation.ros.domain import DOMAINS, claim_domain, own_network, room_for_bursts

CLAIM = "from nn_estimation.ros.domain import claim_domain; print(claim_domain(), flush=True); input()"


def claims() -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_no_two_claims_share_a_domain_within_or_between_processes() -> None:
    others = [claims() for _ in range(3)]
    claimed = [claim_domain(), claim_domain(), *(domain for _, domain in others)]
    for process, _ in others:
        process.communicate("\n")
    assert len(set(claimed)) == len(claimed)
    assert all(1 <= int(domain) <= DOMAINS for domain in claimed)


def test_a_network_of_its_own_leaves_what_the_user_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    monkeypatch.delenv("FASTDDS_DEFAULT_PROFILES_FILE", raising=False)
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "mine.xml")
    environment = own_network()
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"
    assert environment["FASTRTPS_DEFAULT_PROFILES_FILE"] == "mine.xml"
    assert "FASTDDS_DEFAULT_PROFILES_FILE" not in environment


def test_fast_dds_is_given_a_file_that_is_there() -> None:
    pytest.importorskip("rclpy")
    ((_, file),) = room_for_bursts({}).items()
    assert Path(file).is_file()
