"""The launch file of every wing on a ROS 2 installation; test/live makes the same checks with plain processes."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

launch_pytest = pytest.importorskip(
    "launch_pytest", reason="needs a ROS 2 installation: launch_pytest is not on PyPI"
)

from launched import LAYOUT, ROOT, Node, Watch, description, until
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState

import launch

OTHERS = {
    "uwb_bias": "attitude",
    "dead_reckoning": "uwb_bias",
    "attitude": "uwb_bias",
}  # model of another wing
DEFAULTS = {
    "uwb_bias": ("max_delay", 0.05),
    "dead_reckoning": ("aiding", "none"),
    "attitude": ("use_mag", True),
}


@pytest.fixture(params=OTHERS)
def wing(request: pytest.FixtureRequest) -> str:
    """Name of a launch file with a model."""
    return request.param


@pytest.fixture
def needed(wing: str, tmp_path: Path) -> dict[str, object]:
    """Arguments without which a node cannot run."""
    path = tmp_path / "anchors.yaml"
    path.write_text(LAYOUT)
    return {"anchors": path} if wing == "uwb_bias" else {}


@launch_pytest.fixture
def node(watch: Watch, wing: str, needed: dict[str, object]) -> launch.LaunchDescription:
    return description(watch, wing, provider="cpu", use_network="false", **needed)


@launch_pytest.fixture
def node_with_a_wrong_model(watch: Watch, wing: str, needed: dict[str, object]) -> launch.LaunchDescription:
    return description(watch, wing, model=ROOT / "models" / f"{OTHERS[wing]}.onnx", **needed)


@pytest.fixture
def probe() -> Iterator[Node]:
    probe = Node()
    yield probe
    probe.close()


@pytest.mark.launch(fixture=node)
def test_the_lifecycle_goes_through_its_services(node: Any, wing: str, probe: Node) -> None:
    for transition, expected in (
        (Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_INACTIVE),
        (Transition.TRANSITION_CLEANUP, State.PRIMARY_STATE_UNCONFIGURED),
        (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE),
        (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE),
    ):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert probe.call(ChangeState, f"/{wing}_node/change_state", request).success
        assert probe.state(f"{wing}_node") == expected


@pytest.mark.launch(fixture=node)
def test_sigint_ends_the_node_with_exit_code_zero(node: Any, wing: str, watch: Watch, probe: Node) -> None:
    assert probe.state(f"{wing}_node") == State.PRIMARY_STATE_ACTIVE
    os.kill(watch.pids[0], signal.SIGINT)
    until(lambda: watch.codes)
    assert watch.codes == [0]


@pytest.mark.launch(fixture=node_with_a_wrong_model)
def test_a_model_of_another_task_fails_cleanly(node_with_a_wrong_model: Any, wing: str, watch: Watch) -> None:
    until(lambda: watch.codes)
    assert watch.codes == [1]
    assert "cannot be configured" in watch.output and f"{OTHERS[wing]}.onnx" in watch.output


@pytest.mark.launch(fixture=node)
def test_without_a_file_the_model_is_the_shipped_one(node: Any, wing: str, probe: Node) -> None:
    name, default = DEFAULTS[wing]
    model, *others = probe.values(f"{wing}_node", "model", "use_network", "provider", name)
    assert model.endswith(f"share/nn_estimation/models/{wing}.onnx")
    assert others == [False, "cpu", default]
