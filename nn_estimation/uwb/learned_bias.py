"""The bias models of one ONNX file: raw, constant, affine and ridge from its contract, the network from its graph."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from nn_estimation.inference import Bound, Model, ModelError
from nn_estimation.uwb.bias import (
    BY_MODEL,
    FALLBACK_INFLATION,
    NETWORK_FAILED,
    NO_POWER,
    OUT_OF_RANGE,
    UNKNOWN_LINK,
    Bias,
    BiasModel,
    CalibratedBias,
    LinkIndex,
)
from nn_estimation.uwb.epochs import Epoch
from nn_estimation.uwb.features import FEATURES, FeatureReader
from nn_estimation.uwb.layout import Layout
from nn_estimation.uwb.ridge import Ridge
from nn_estimation.uwb.tables import mismatches

TASKS = ("uwb_bias", "uwb_tdoa_bias")
TENSORS = {"features", "link", "bias", "variance", "gradient"}


class LearnedBias(ABC):
    """Shared by ridge and network: the range check on the features, and the affine fallback."""

    method = "ridge"

    def __init__(self, model: Model, links: LinkIndex, affine: CalibratedBias) -> None:
        contract = model.contract
        self.correlation_time = float(contract.parameters["correlation_time"][self.method])
        self.features = FeatureReader(contract.features)
        self._affine, self._links = affine, links
        self._low, self._high = np.array(contract.valid_range, dtype=np.float64).T
        self._inflation = float(contract.parameters.get("fallback_inflation", FALLBACK_INFLATION))

    @abstractmethod
    def _evaluate(self, features: np.ndarray, link: np.ndarray, out: Bias) -> None:
        """Bias, variance and gradient of features in range, into out."""

    def predict(self, epoch: Epoch, geometry: np.ndarray) -> Bias:
        """See `BiasModel`."""
        features = self.features.read(geometry, epoch.power)
        link = self._links.of(epoch)
        absent = np.isnan(features).any(axis=1)
        with np.errstate(invalid="ignore"):
            outside = ((features < self._low) | (features > self._high)).any(axis=1)
        reason = np.select([link < 0, absent, outside], [UNKNOWN_LINK, NO_POWER, OUT_OF_RANGE], BY_MODEL)
        out = Bias(
            np.empty(len(link)), np.empty(len(link)), np.empty((len(link), 3)), reason.astype(np.uint8)
        )
        usable = reason == BY_MODEL
        if usable.any():
            features[~usable] = 0.0
            self._evaluate(features, link, out)
            sound = np.isfinite(out.bias) & np.isfinite(out.gradient).all(axis=1) & (out.variance > 0)
            out.fallback[usable & ~(sound & np.isfinite(out.variance))] = NETWORK_FAILED
        stand_in = out.fallback != BY_MODEL
        if stand_in.any():
            affine = self._affine.predict(epoch, geometry)
            out.bias[stand_in] = affine.bias[stand_in]
            out.variance[stand_in] = affine.variance[stand_in] * self._inflation
            out.gradient[stand_in] = affine.gradient[stand_in]
        return out

    def calibrate(self, epoch: Epoch) -> tuple[np.ndarray, np.ndarray]:
        """See `BiasModel`."""
        return self._affine.calibrate(epoch)


class RidgeBias(LearnedBias):
    """The additive model fitted by ridge regression."""

    method = "ridge"

    def __init__(self, model: Model, links: LinkIndex, affine: CalibratedBias) -> None:
        super().__init__(model, links, affine)
        self._ridge = Ridge.from_dict(model.contract.parameters["ridge"])

    def _evaluate(self, features: np.ndarray, link: np.ndarray, out: Bias) -> None:
        out.bias[:], out.gradient[:] = self._ridge.predict(features, link)
        out.variance[:] = self._ridge.variance[link]


class NetworkBias(LearnedBias):
    """The network in the graph of the model, one call an epoch."""

    method = "network"

    def __init__(self, model: Model, links: LinkIndex, affine: CalibratedBias) -> None:
        super().__init__(model, links, affine)
        self._model = model
        self._bound: dict[int, Bound] = {}

    def _evaluate(self, features: np.ndarray, link: np.ndarray, out: Bias) -> None:
        size = len(link)
        bound = self._bound.get(size)
        if bound is None:
            shapes = {"features": (size, features.shape[1]), "link": (size,)}
            bound = self._bound[size] = self._model.bind(shapes)
        bound.inputs["features"][:] = features
        bound.inputs["link"][:] = link
        bound()
        out.bias[:] = bound.outputs["bias"]
        out.variance[:] = bound.outputs["variance"]
        out.gradient[:] = bound.outputs["gradient"]


def load_bias_models(model: Model, layout: Layout) -> dict[str, BiasModel]:
    """The bias models of one file by method: raw, constant, affine, ridge, network.

    Raises:
        ModelError: a model for another task, or parameters that do not fit together.
    """
    contract, parameters = model.contract, model.contract.parameters
    if contract.task not in TASKS:
        raise ModelError(
            f"{model.path} is a model for the task {contract.task}, {' or '.join(TASKS)} is needed: "
            "choose another file"
        )
    named = {spec.name for spec in (*contract.inputs, *contract.outputs)}
    wrong = [f"it lacks the tensor {name}" for name in sorted(TENSORS - named)]
    wrong += [f"nobody computes its feature {name}" for name in contract.features if name not in FEATURES]
    wrong += mismatches(parameters, contract.features)
    if wrong:
        raise ModelError(
            f"{model.path} does not fit {contract.task}: {'; '.join(wrong)}. "
            "Train it with `nn_estimation train uwb`"
        )
    _compute_all_links(model, len(parameters["links"]))
    links = LinkIndex(parameters["links"], layout)
    models: dict[str, BiasModel] = {}
    for method in ("raw", "constant", "affine"):
        correlation_time = float(parameters["correlation_time"][method])
        models[method] = CalibratedBias(method, parameters[method], links, correlation_time)
    affine = models["affine"]
    assert isinstance(affine, CalibratedBias)
    models["ridge"] = RidgeBias(model, links, affine)
    models["network"] = NetworkBias(model, links, affine)
    return models


def _compute_all_links(model: Model, links: int) -> None:
    """Raise ModelError where the graph knows fewer links than the tables beside it."""
    if model.provider == "tensorrt":  # would build another engine for this batch
        return
    middle = np.mean(model.contract.valid_range, axis=1, dtype=np.float32)
    link = np.arange(-1, links)
    try:
        model.run({"features": np.tile(middle, (len(link), 1)), "link": link})
    except ModelError as error:
        raise ModelError(
            f"{model.path} does not compute all of its {links} links: train it again ({error})"
        ) from error
