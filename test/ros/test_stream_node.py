"""Claims about the base of every wing's node: what an exception costs, what is an error, what is refused."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.parameter import Parameter
from sensor_msgs.msg import Imu

from nn_estimation import cdr
from nn_estimation.parameters import ParameterError, latency_budget, model_parameters
from nn_estimation.ros.diagnostics import ERROR, OK, WARN
from nn_estimation.ros.domain import claim_domain
from nn_estimation.ros.stream_node import NOTHING, Due, StreamNode

TOPIC = "imu/data_raw"


class Sum:
    """A stream that adds up the lengths of its messages."""

    def __init__(self) -> None:
        self.topics = {TOPIC: cdr.IMU}
        self.total = 0

    def feed(self, topic: str, data: bytes) -> int | None:
        self.total += len(data)
        if data == b"bad":
            raise ZeroDivisionError
        return self.total if data else None

    def reset(self) -> None:
        self.total = 0


class Setup:
    method = "plain"


class SumNode(StreamNode):
    """Publishes the sums."""

    def __init__(self, **arguments: Any) -> None:
        parameters = (*model_parameters("nothing", "Add with the network."), latency_budget(100.0, "sum"))
        super().__init__("sum_node", parameters, health, "sum", ("input",), **arguments)
        self.published: list[int] = []
        self.thought: list[int] = []

    def configure(self, parameters: dict[str, Any]) -> None:
        self.choose(parameters, lambda model: {}, "plain", Setup())
        self.listen(Sum(), parameters)

    def take(self, topic: str, data: bytes) -> Due:
        total = self.stream.feed(topic, data)
        publish = self.refuse if data == b"unwanted" else self.published.append
        return NOTHING if total is None else (1, [(publish, total)])

    def think(self) -> None:
        self.thought.append(len(self.published))

    def refuse(self, total: int) -> None:
        raise RuntimeError("the publisher is gone")


def health(stream: Sum) -> list[tuple[str, str, dict[str, object]]]:
    problem = "too long" if stream.total > 10 else ""
    return [("input", problem, {"total": stream.total}), ("other", problem, {})]


@pytest.fixture
def make() -> Iterator[Callable[..., SumNode]]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(claim_domain()))
    nodes = []

    def made(**parameters: Any) -> SumNode:
        given = [Parameter(name, value=value) for name, value in parameters.items()]
        nodes.append(SumNode(context=context, parameter_overrides=given))
        return nodes[-1]

    yield made
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def test_what_is_due_of_a_message_is_published_while_the_node_is_active(make: Callable[..., SumNode]) -> None:
    node = make(use_network=False)
    node.trigger_configure()
    node.process(node.take, TOPIC, b"early")
    node.trigger_activate()
    for data in (b"one", b"", b"three"):
        node.process(node.take, TOPIC, data)
    node.trigger_deactivate()
    node.process(node.take, TOPIC, b"late")
    assert node.published == [3, 8] and node.stream.total == 0
    assert node.thought == [1, 1, 2]  # once all of a message is published


def test_what_an_active_node_has_loaded_is_not_searched_for_garbage(make: Callable[..., SumNode]) -> None:
    node = make(use_network=False)
    gc.unfreeze()
    assert node.autostart()
    assert gc.get_freeze_count() > 1000
    assert all(held is not node for held in gc.get_objects())


def test_a_quality_of_service_that_is_overridden_is_that_of_one_topic(make: Callable[..., SumNode]) -> None:
    node = make(use_network=False, **{"qos_overrides./first.subscription.depth": 7})
    heard: list[bytes] = []
    for topic in ("first", "second"):
        node.subscribe(Imu, topic, heard.append)
    depths = {s.topic_name: s.qos_profile.depth for s in node.subscriptions}
    assert depths["/first"] == 7 and depths["/second"] == 1000


def test_an_exception_costs_the_state_of_the_stream_and_not_the_node(make: Callable[..., SumNode]) -> None:
    node = make(use_network=False)
    assert node.autostart()
    for data in (b"one", b"bad", b"three", b"unwanted", b"seven"):
        node.process(node.take, TOPIC, data)
    assert node.published == [3, 5, 5]


def test_problems_are_warnings_and_errors_where_they_are_severe(make: Callable[..., SumNode]) -> None:
    node = make(use_network=False)
    assert node.statuses() == [] and node.autostart()
    model, latency, *aspects = node.statuses()
    assert (model.name, model.values) == ("model", {"method": "plain"})
    assert latency.name == "latency" and "rate [sums/s]" in latency.values
    assert [(s.name, s.level, s.message) for s in aspects] == [("input", OK, "ok"), ("other", OK, "ok")]
    node.process(node.take, TOPIC, b"longer than ten")
    _, _, *aspects = node.statuses()
    assert [(s.level, s.message) for s in aspects] == [(ERROR, "too long"), (WARN, "too long")]
    assert aspects[0].values == {"total": 15}


def test_what_is_not_active_has_no_problems_and_what_is_cleaned_up_says_nothing(
    make: Callable[..., SumNode],
) -> None:
    node = make(use_network=False)
    node.trigger_configure()
    node.stream.total = 11
    assert [(s.name, s.level, s.message) for s in node.statuses()][-2:] == [
        ("input", OK, "inactive"),
        ("other", OK, "inactive"),
    ]
    node.trigger_activate()
    assert [s.level for s in node.statuses()][-2:] == [ERROR, WARN]
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert node.statuses() == []


def test_a_network_needs_a_model(make: Callable[..., SumNode]) -> None:
    wanting = make()
    assert not wanting.autostart()
    assert wanting.failure == "no model: set model to an ONNX file, or use_network to false"
    node = make(use_network=False)
    assert node.autostart() and node.method == "plain"
    with pytest.raises(ParameterError, match="start the node with model set"):
        node.change("use_network", True)
