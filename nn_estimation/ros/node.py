"""The managed node every wing builds on: autostart, clean failure, reset, diagnostics, clean exit."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.logging import get_logger
from rclpy.parameter import Parameter as RosParameter
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from nn_estimation.parameters import AUTOSTART, Parameter, ParameterError
from nn_estimation.ros.diagnostics import ERROR, Diagnostics, Status
from nn_estimation.ros.executor import executor
from nn_estimation.ros.parameters import declare, values
from nn_estimation.ros.stop import StopSignals

DEPTH = 1000  # messages
DIAGNOSTICS_PERIOD = 1.0  # [s]


def _qos(reliability: ReliabilityPolicy) -> QoSProfile:
    """A profile of its own for each topic: rclpy writes into it what a parameter overrides."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=DEPTH, reliability=reliability)


class ManagedNode(LifecycleNode):
    """A lifecycle node whose subclass says what to do when; any error on the way is a clean FAILURE.

    Args:
        name: of the node.
        parameters: declared besides `autostart`.
    """

    def __init__(self, name: str, parameters: Sequence[Parameter], **arguments: Any) -> None:
        super().__init__(name, **arguments)
        self._parameters_of_node = (AUTOSTART, *parameters)
        declare(self, self._parameters_of_node)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics = Diagnostics(name, "", self._log_fault)
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_timer(DIAGNOSTICS_PERIOD, self._publish_diagnostics, clock=self._steady)
        self._owned: list[tuple[Callable[[Any], Any], Any]] = []
        self.active = False
        self.failure = ""

    def configure(self, parameters: dict[str, Any]) -> None:
        """Read files, make topics; raise to refuse."""

    def reset(self) -> None:
        """Forget all state, keep the configuration."""

    def change(self, name: str, value: Any) -> None:
        """A live parameter changes; raise ParameterError to refuse."""

    def statuses(self) -> list[Status]:
        """What /diagnostics says, while configured."""
        return []

    def subscribe(self, msgtype: type, topic: str, callback: Callable[[bytes], None]) -> None:
        """A raw subscription with sensor QoS, removed at cleanup; refused messages never kill the node."""
        subscription = self.create_subscription(
            msgtype,
            self.resolve(topic),
            callback,
            _qos(ReliabilityPolicy.BEST_EFFORT),
            raw=True,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._owned.append((self.destroy_subscription, subscription))

    def advertise(self, msgtype: type, topic: str) -> Any:
        """A reliable lifecycle publisher, removed at cleanup; `publish` takes CDR bytes too."""
        publisher: Any = self.create_lifecycle_publisher(
            msgtype,
            self.resolve(topic),
            _qos(ReliabilityPolicy.RELIABLE),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._owned.append((self.destroy_lifecycle_publisher, publisher))
        return publisher

    def tick(self, period: float, callback: Callable[[], None]) -> None:
        """A timer on the steady clock (simulated time may stand still), removed at cleanup."""
        self._owned.append((self.destroy_timer, self.create_timer(period, callback, clock=self._steady)))

    def resolve(self, topic: str) -> str:
        """Name of a topic after remapping; remapping its first part moves all topics below it."""
        remapped = self.resolve_topic_name(topic)
        head, slash, tail = topic.partition("/")
        if not slash or remapped != self.resolve_topic_name(topic, only_expand=True):
            return remapped
        return f"{self.resolve_topic_name(head)}/{tail}"

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition; an exception here would be swallowed by rclpy."""
        try:
            self.configure(values(self, self._parameters_of_node))
        except Exception as error:
            self.failure = f"{error}" if isinstance(error, (ValueError, OSError)) else f"{error!r}"
            self.get_logger().error(f"cannot be configured: {self.failure}")
            self.release()
            return TransitionCallbackReturn.FAILURE
        self.failure = ""
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition."""
        # What is loaded by now stays; to walk through it in search of garbage takes 30 ms while messages wait.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self.active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition; the estimator starts afresh at the next activation."""
        self.active = False
        self.reset()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition."""
        self.release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition."""
        self.active = False
        return TransitionCallbackReturn.SUCCESS

    def autostart(self) -> bool:
        """Configure and activate if asked to; False where that fails."""
        if not self.get_parameter("autostart").value:
            return True
        self.trigger_configure()
        if self.failure:
            return False
        self.trigger_activate()
        return self.active

    def release(self) -> None:
        """Let go of what was configured."""
        for destroy, thing in self._owned:
            destroy(thing)
        self._owned.clear()

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            self.reset()
            response.success, response.message = True, "reset"
        except Exception as error:
            response.success, response.message = False, repr(error)
        return response

    def _on_set_parameters(self, changes: list[RosParameter]) -> Any:
        from rcl_interfaces.msg import SetParametersResult

        known = {parameter.name: parameter for parameter in self._parameters_of_node}
        try:
            for change in changes:
                if change.name in known:
                    self.change(change.name, known[change.name].check(change.value))
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _publish_diagnostics(self) -> None:
        try:
            statuses = [Status("configuration", ERROR, self.failure)] if self.failure else self.statuses()
            array = self._diagnostics.array(statuses)
            array.header.stamp = self.get_clock().now().to_msg()
            self._diagnostics_publisher.publish(array)
        except Exception as error:
            self.get_logger().error(f"diagnostics failed: {error!r}", throttle_duration_sec=30.0)

    def _log_fault(self, level: bytes, text: str) -> None:
        if level == ERROR:
            self.get_logger().error(text)
        else:
            self.get_logger().warning(text)


def run(make: Callable[[], ManagedNode], args: Sequence[str] | None = None) -> int:
    """Spin a node until SIGINT, SIGTERM or shutdown; the exit code of its process.

    Returns:
        0 after a clean stop, 1 where a parameter has the wrong type or range, or the autostart failed.
    """
    signals = StopSignals()
    rclpy.init(args=sys.argv if args is None else list(args), signal_handler_options=SignalHandlerOptions.NO)
    node = spinning = None
    try:
        node = make()
        if not node.autostart():
            return 1
        spinning = executor()
        spinning.add_node(node)
        signals.started()
        spinning.spin_until_future_complete(signals.stop, 1e6)
    except ParameterException as error:
        get_logger("nn_estimation").error(f"cannot be started: {error}")
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        signals.close()
        # In this order: an executor that still has callbacks of a node that is gone aborts.
        if spinning is not None:
            spinning.shutdown()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
