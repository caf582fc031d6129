"""Claims about Wahba's problem with learned weights: beside a Kalman filter, numpy, and as a graph."""

# ruff: noqa: E402
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("onnxscript", reason="the exporter of torch needs onnxscript")

from nn_estimation.attitude.heading import azimuth, twist
from nn_estimation.attitude.network import HIGHEST, LEAST_INFORMATION, LOWEST, WahbaNetwork
from nn_estimation.inference import Model
from nn_estimation.rotations import geodesic_distance, project_to_so3

from .trials import WAHBA_CORRELATION, WAHBA_SEED
from .wahba import inputs, network


def said(module: WahbaNetwork, given: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with torch.no_grad():
        R, P, std = module(**{name: torch.tensor(value) for name, value in given.items()})
    return R.numpy(), P.numpy(), std.numpy().astype(np.float64)


def profile(given: dict[str, np.ndarray], std: np.ndarray, correlation: float) -> np.ndarray:
    """(B, 3, 3) the attitude profile matrix, as the papers write it."""
    found = []
    for R, variance, field, s in zip(
        given["prior"], given["prior_variance"], given["field"], std, strict=True
    ):
        level = R @ field * [1.0, 1.0, 0.0]
        m = R.T @ level / np.linalg.norm(level)
        inclination, heading = 1.0 / variance
        D = np.diag([heading / 2, heading / 2, inclination - heading / 2])
        found.append(D @ R + np.outer([0.0, 1.0, 0.0], m) / (correlation * s**2))
    return np.stack(found)


def test_small_innovations_make_the_update_of_a_kalman_filter() -> None:
    correlation, given = 20.0, inputs(200, near=0.02)
    R, P, std = said(network(correlation, seed=1), given)
    variance, noise = given["prior_variance"][:, 1], correlation * std**2
    innovation = np.array([azimuth(r, m) for r, m in zip(given["prior"], given["field"], strict=True)])
    gain = variance / (variance + noise)
    turned = np.array([twist(a, b) for a, b in zip(R, given["prior"], strict=True)])
    # Of the third order in the innovation, and what keeps the inverse finite.
    np.testing.assert_allclose(turned, gain * innovation, atol=0.02**3)
    np.testing.assert_allclose(P[:, 2, 2], gain * noise, rtol=1e-3)
    assert gain.min() < 0.02 and gain.max() > 0.2


def test_large_innovations_are_weighed_on_the_circle() -> None:
    """As unit vectors, so that a field from behind says less the surer the prior is, and nothing is unwrapped."""
    correlation, given = 1.0, inputs(200, seed=3)
    R, _, std = said(network(correlation, std=0.2), given)
    innovation = np.array([azimuth(r, m) for r, m in zip(given["prior"], given["field"], strict=True)])
    prior, weight = 1.0 / given["prior_variance"][:, 1], 1.0 / (correlation * std**2)
    expected = np.arctan2(weight * np.sin(innovation), prior + weight * np.cos(innovation))
    turned = np.array([twist(a, b) for a, b in zip(R, given["prior"], strict=True)])
    np.testing.assert_allclose(turned, expected, atol=1e-6)


def test_a_field_turns_the_heading_alone() -> None:
    given = inputs(200, seed=1)
    R, _, _ = said(network(1.0), given)
    np.testing.assert_allclose((R @ given["prior"].mT)[:, 2, 2], 1.0, atol=1e-9)
    assert geodesic_distance(R, given["prior"]).max() > 0.5


def test_the_rotation_and_its_covariance_are_those_of_numpy() -> None:
    """Lee 2018: the projection of the profile, and the inverse of tr(S) I - S with S = F R'."""
    correlation, given = 5.0, inputs(300, seed=2)
    R, P, std = said(network(correlation, seed=4), given)
    F = profile(given, std, correlation)
    np.testing.assert_allclose(R, project_to_so3(F), atol=1e-7)
    for r, f, covariance in zip(R, F, P, strict=True):
        S = f @ r.T
        information = (np.trace(S) + LEAST_INFORMATION) * np.eye(3) - (S + S.T) / 2
        np.testing.assert_allclose(covariance, np.linalg.inv(information), rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(S, S.T, atol=1e-6 * np.trace(S))


def test_the_graph_says_what_torch_says(wahba_model: Path) -> None:
    module, given = network(seed=WAHBA_SEED), inputs(400, seed=5)
    found = Model.load(wahba_model, provider="cpu").run(given)
    for name, value in zip(("rotation", "covariance", "heading_std"), said(module, given), strict=True):
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-7, err_msg=name)
    F = profile(given, found["heading_std"].astype(np.float64), WAHBA_CORRELATION)
    np.testing.assert_allclose(found["rotation"], project_to_so3(F), atol=1e-7)


@pytest.mark.parametrize("unit", [1e4, 1e9])
def test_the_unit_of_the_field_does_not_count(unit: float) -> None:
    given, module = inputs(50), network()
    for one, other in zip(
        said(module, given), said(module, given | {"field": unit * given["field"]}), strict=True
    ):
        np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-12)


def test_a_vertical_field_and_none_at_all_say_nothing() -> None:
    given = inputs(20)
    upward = given["prior"].mT @ np.array([0.0, 0.0, -45e-6])
    for field in (upward, np.zeros_like(upward)):
        R, P, _ = said(network(), given | {"field": field})
        np.testing.assert_allclose(R, given["prior"], atol=1e-5)  # rounding is horizontal
        variances = given["prior_variance"][:, [0, 0, 1]]
        np.testing.assert_allclose(np.diagonal(P, axis1=1, axis2=2), variances, rtol=1e-3)


def test_what_it_says_of_a_field_is_bounded_whatever_the_features_are() -> None:
    given = inputs(100)
    for scale in (1.0, 1e6, -1e6):
        _, _, std = said(
            network(seed=6), given | {"features": (scale * given["features"]).astype(np.float32)}
        )
        assert (std >= 0.999 * math.sqrt(2.0) * math.exp(LOWEST)).all()
        assert (std <= 1.001 * math.sqrt(2.0) * math.exp(HIGHEST)).all()
