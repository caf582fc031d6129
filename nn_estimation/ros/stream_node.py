"""The node of a wing: messages to a stream, what comes of them to publishers, how both fare to diagnostics."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from nn_estimation.inference import Model
from nn_estimation.parameters import Parameter, ParameterError
from nn_estimation.ros.diagnostics import ERROR, OK, WARN, Latency, Status
from nn_estimation.ros.messages import message_class
from nn_estimation.ros.node import ManagedNode

S = TypeVar("S")
Health = Callable[[Any], Sequence[tuple[str, str, Mapping[str, object]]]]
Publication = tuple[Callable[[Any], object], Any]  # publish, and what to publish
Due = tuple[int, Sequence[Publication]]  # units dealt with, and what is to be published of them
NOTHING: Due = (1, ())


class StreamNode(ManagedNode):
    """A managed node around a stream: something with `topics`, `feed`, `reset` and, for a network, `use`.

    A subclass makes the stream in `configure`, by `choose` and `listen`, and says in `take` what is published.

    Args:
        name: of the node.
        parameters: declared besides `autostart`.
        health: of the stream, as (aspect, what is wrong or empty, values).
        unit: what the latency is of, such as range or sample.
        severe: aspects whose problems are errors; those of others are warnings.

    Attributes:
        stream: None until the node is configured.
    """

    lost = "a message"  # with an exception

    def __init__(
        self,
        name: str,
        parameters: Sequence[Parameter],
        health: Health,
        unit: str,
        severe: Collection[str] = (),
        **arguments: Any,
    ) -> None:
        super().__init__(name, parameters, **arguments)
        self._health, self._unit, self._severe = health, unit, severe
        self.stream: Any = None
        self._model: Model | None = None
        self._setup: Any = None
        self._setups: dict[bool, Any] = {}

    @abstractmethod
    def take(self, topic: str, data: bytes) -> Due:
        """Feed the stream with a message; what is to be published of what came out."""

    def choose(
        self,
        parameters: Mapping[str, Any],
        load: Callable[[Model], Mapping[str, S]],
        without: str,
        alone: S,
        sizes: Mapping[str, int] | None = None,
    ) -> S:
        """The setup that `model_parameters` ask for; `use_network` changes it from then on.

        Args:
            parameters: of the node.
            load: the setups of a model by method, each with its `method`.
            without: the method while `use_network` is off.
            alone: the setup without a model.
            sizes: as of `Model.load`.

        Raises:
            ParameterError: no model, and the network is wanted.
            ModelError: it cannot be used.
        """
        self._model, self._setups = None, {False: alone}
        if parameters["model"]:
            sha256, provider = parameters["model_sha256"] or None, parameters["provider"]
            self._model = Model.load(parameters["model"], provider=provider, sha256=sha256, sizes=sizes)
            setups = load(self._model)
            self._setups = {True: setups["network"], False: setups[without]}
        elif parameters["use_network"]:
            raise ParameterError("no model: set model to an ONNX file, or use_network to false")
        self._setup = self._setups[parameters["use_network"]]
        return self._setup

    @property
    def method(self) -> str:
        """The method in use and what it runs on, in words."""
        return self._setup.method + (f" on {self._model.provider}" if self._model else "")

    def listen(self, stream: Any, parameters: Mapping[str, Any]) -> None:
        """Subscribe to all topics of a stream and feed it from them."""
        self.stream = stream
        self._latency = Latency(parameters["latency_budget_us"] * 1e-6, self._unit)
        for topic, msgtype in stream.topics.items():
            self.subscribe(message_class(msgtype), topic, partial(self.process, self.take, topic))

    def process(self, make: Callable[..., Due], *given: Any) -> None:
        """Publish what `make` makes of what is given; what it raises costs the state of the stream, not the node."""
        if not self.active:
            return
        begin = time.perf_counter()
        try:
            count, due = make(*given)
            computed = time.perf_counter()
            for publish, message in due:
                publish(message)
            published = time.perf_counter()
            self.think()
        except Exception as error:
            self.get_logger().error(f"{self.lost} was dropped: {error!r}", throttle_duration_sec=30.0)
            self.stream.reset()
            return
        self._latency.add(computed - begin, count, published - computed, time.perf_counter() - published)

    def think(self) -> None:
        """Do what nothing that is published has to wait for."""

    def reset(self) -> None:
        """See `ManagedNode`."""
        if self.stream is not None:
            self.stream.reset()

    def change(self, name: str, value: Any) -> None:
        """See `ManagedNode`."""
        if name == "use_network" and self.stream is not None:
            if value not in self._setups:
                raise ParameterError("use_network needs a model: start the node with model set")
            self._setup = self._setups[value]
            self.stream.use(self._setup)

    def release(self) -> None:
        """See `ManagedNode`."""
        super().release()
        self.stream = self._setup = None

    def statuses(self) -> list[Status]:
        """See `ManagedNode`."""
        if self.stream is None:
            return []
        found = [] if self._setup is None else [self._model_status()]
        if not self.active:
            return [*found, *(Status(name, message="inactive") for name, *_ in self._health(self.stream))]
        found.append(self._latency.status())
        for name, problem, values in self._health(self.stream):
            bad = ERROR if name in self._severe else WARN
            found.append(Status(name, bad if problem else OK, problem or "ok", values))
        return found

    def _model_status(self) -> Status:
        values: dict[str, object] = {"method": self._setup.method}
        if (model := self._model) is not None:
            values |= {"file": model.path, "sha256": model.sha256, "provider": model.provider}
        return Status("model", values=values)
