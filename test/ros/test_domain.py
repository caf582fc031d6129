import subprocess
import sys

from nn_estimation.ros.domain import DOMAINS, claim_domain

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
