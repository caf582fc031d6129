"""Execution providers of ONNX Runtime: which really load, and which is fastest for a model."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from nn_estimation.contract import ModelError, TensorSpec

LOG = logging.getLogger(__name__)
NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
TIMED_RUNS = 30
LONGEST = 256  # of a symbolic dimension in a TensorRT engine, where the typical length is not longer


def choose_session(
    content: bytes,
    digest: str,
    specs: Sequence[TensorSpec],
    inputs: Mapping[str, np.ndarray],
    provider: str,
    source: str,
) -> tuple[Any, str, dict[str, float]]:
    """A session for the model, the provider that runs it, and seconds a run of every provider tried.

    Args:
        content: the model file.
        digest: its SHA-256, under which TensorRT engines are kept.
        specs: of the inputs.
        inputs: typical inputs, for timing and for TensorRT to build for.
        provider: a key of NAMES, or auto for the fastest that loads.
        source: the path, for messages.

    Raises:
        ModelError: no such provider, or one that does not load or run this model; never a silent fall to CPU.
    """
    if provider not in (*NAMES, "auto"):
        raise ModelError(f"provider {provider!r} is not one of auto, {', '.join(NAMES)}")
    installed = onnxruntime.get_available_providers()
    if provider != "auto":
        session, seconds = _open_and_time(content, digest, specs, inputs, provider, installed, source)
        return session, provider, {provider: seconds}
    tried = {}
    for name in [name for name, full in NAMES.items() if full in installed]:
        try:
            tried[name] = _open_and_time(content, digest, specs, inputs, name, installed, source)
        except ModelError as error:
            if name == "cpu":
                raise
            LOG.info("%s", error)
    fastest = min(tried, key=lambda name: tried[name][1])
    return tried[fastest][0], fastest, {name: seconds for name, (_, seconds) in tried.items()}


def provider_options(
    provider: str, digest: str, specs: Sequence[TensorSpec], inputs: Mapping[str, np.ndarray]
) -> dict[str, str]:
    """What a provider is asked for; makes the folder that TensorRT keeps its engines in.

    One engine serves every length of the symbolic dimensions from 1 to LONGEST and is fastest at that of `inputs`.
    ONNX Runtime builds anew where the profile differs, so each has its folder; it tells the GPUs apart itself.
    """
    if provider != "tensorrt":
        return {}
    typical = _profile(specs, inputs, lambda size: size)
    folder = f"{digest[:16]}-onnxruntime-{onnxruntime.__version__}"
    options = {"trt_engine_cache_enable": "True"}
    if typical:
        folder += "-" + hashlib.sha256(typical.encode()).hexdigest()[:8]
        options["trt_profile_min_shapes"] = _profile(specs, inputs, lambda _: 1)
        options["trt_profile_opt_shapes"] = typical
        options["trt_profile_max_shapes"] = _profile(specs, inputs, lambda size: max(size, LONGEST))
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "nn_estimation" / "tensorrt"
    (cache / folder).mkdir(parents=True, exist_ok=True)
    return {**options, "trt_engine_cache_path": str(cache / folder)}


def _profile(
    specs: Sequence[TensorSpec], inputs: Mapping[str, np.ndarray], length: Callable[[int], int]
) -> str:
    """`name:AxB,...` of the inputs with symbolic dimensions, which get another length."""
    shapes = []
    for spec in specs:
        if any(isinstance(size, str) for size in spec.shape):
            have = zip(spec.shape, inputs[spec.name].shape, strict=True)
            sizes = [str(length(size) if isinstance(want, str) else size) for want, size in have]
            shapes.append(f"{spec.name}:{'x'.join(sizes)}")
    return ",".join(shapes)


def _open_and_time(
    content: bytes,
    digest: str,
    specs: Sequence[TensorSpec],
    inputs: Mapping[str, np.ndarray],
    provider: str,
    installed: list[str],
    source: str,
) -> tuple[Any, float]:
    """A session that really runs on `provider`, and the median seconds of a run."""
    full = NAMES[provider]
    if full not in installed:
        raise ModelError(
            f"provider {provider} is not in this onnxruntime {onnxruntime.__version__} "
            f"(it has {', '.join(installed)}): install nn_estimation[gpu], or set provider to auto or cpu"
        )
    if provider == "tensorrt":
        LOG.warning("building or loading the TensorRT engine of %s: the first time takes minutes", source)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # errors are raised, they need no second voice
    # A spinning thread would take a core from the rest of the robot.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        wanted = provider_options(provider, digest, specs, inputs)
        session = onnxruntime.InferenceSession(content, options, providers=[(full, wanted)])
        session.disable_fallback()
        active = session.get_providers()
        if active[0] != full:
            raise ModelError(
                f"provider {provider} did not load on this machine, ONNX Runtime fell back to {active[0]}: "
                "check its driver and libraries, or set provider to auto or cpu"
            )
        return session, _median_seconds(session, inputs)
    except ModelError:
        raise
    except Exception as error:  # onnxruntime raises classes of its C extension
        raise ModelError(f"{source} cannot run on provider {provider}: {error}") from error


def _median_seconds(session: Any, inputs: Mapping[str, np.ndarray]) -> float:
    session.run(None, inputs)
    seconds = []
    for _ in range(TIMED_RUNS):
        start = time.perf_counter()
        session.run(None, inputs)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))
