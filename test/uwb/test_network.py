# ruff: noqa: E402
import pytest

torch = pytest.importorskip("torch", reason="networks need torch")
from torch import Tensor

from nn_estimation.learning.trainer import reproducible
from nn_estimation.uwb.network import BiasNetwork, Links, PlainBias, Scaling, StructuredBias

LINKS = Links(tag=(0, 0, 1, 1), anchor=(0, 1, 0, 1))
SETS = [
    ("distance",),
    ("distance", "azimuth_tag"),
    ("distance", "azimuth_tag", "azimuth_anchor"),
    ("distance", "azimuth_tag", "elevation_tag", "azimuth_anchor"),
    ("distance", "rx_power", "power_difference"),
    ("power_difference", "distance_b", "distance", "snr"),
]


def network(kind: type[BiasNetwork], names: tuple[str, ...], *, trained: bool = True) -> BiasNetwork:
    """With random weights everywhere, as a training might leave them."""
    scaling = Scaling(tuple(0.3 for _ in names), tuple(1.7 for _ in names))
    with reproducible(0):
        module = kind(names, LINKS, scaling, [0.1, 0.2, 0.3, 0.4], [0.01, 0.02, 0.03, 0.04], 0.01)
        if trained:
            for parameter in module.parameters():
                parameter.data += 0.3 * torch.randn_like(parameter)
    return module.double()


def inputs(names: tuple[str, ...], count: int = 40) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    features = 3 * torch.rand(count, len(names), generator=generator, dtype=torch.float64) - 1.5
    return features, torch.arange(count) % 5 - 1


@pytest.mark.parametrize("names", SETS, ids=" ".join)
@pytest.mark.parametrize("kind", [StructuredBias, PlainBias])
def test_the_written_out_derivatives_are_those_of_automatic_differentiation(kind, names) -> None:
    module = network(kind, names)
    features, link = inputs(names)
    features.requires_grad_()
    bias, _, gradient = module(features, link)
    (expected,) = torch.autograd.grad(bias.sum(), features)
    for i, name in enumerate(("distance", "azimuth_tag", "elevation_tag")):
        want = expected[:, names.index(name)] if name in names else torch.zeros_like(bias)
        torch.testing.assert_close(gradient[:, i], want)


@pytest.mark.parametrize("kind", [StructuredBias, PlainBias])
def test_before_training_the_network_is_the_affine_calibration(kind) -> None:
    names = SETS[3]
    module = network(kind, names, trained=False)
    features, _ = inputs(names)
    link = torch.arange(len(features)) % 4
    bias, variance, gradient = module(features, link)
    offset, slope = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0.01, 0.02, 0.03, 0.04])
    torch.testing.assert_close(bias, offset[link] + slope[link] * (features[:, 0] - 4) / 2, check_dtype=False)
    torch.testing.assert_close(variance, torch.full_like(variance, 0.01))
    torch.testing.assert_close(gradient[:, 0], slope[link] / 2, check_dtype=False)


@pytest.mark.parametrize("names", SETS[:4], ids=" ".join)
def test_a_link_never_seen_has_the_mean_calibration_and_the_common_pattern_alone(names) -> None:
    module = network(StructuredBias, names)
    features, _ = inputs(names)
    bias, variance, _ = module(features, torch.full((len(features),), -1))
    for parameter_name, parameter in module.named_parameters():
        if parameter_name.endswith("_deviation"):
            parameter.data.zero_()
    module.offset.data.fill_(module.offset.data.mean())
    module.slope.data.fill_(module.slope.data.mean())
    for link in range(4):
        known, known_variance, _ = module(features, torch.full((len(features),), link))
        torch.testing.assert_close(bias, known)
        torch.testing.assert_close(variance, known_variance)


def test_the_pattern_is_the_same_all_around_and_shared_by_the_tags() -> None:
    names = ("distance", "azimuth_tag")
    module = network(StructuredBias, names)
    assert isinstance(module, StructuredBias)
    features, link = inputs(names)
    around = features + torch.tensor([0.0, 2 * torch.pi], dtype=torch.float64)
    torch.testing.assert_close(module(features, link)[0], module(around, link)[0])
    module.tag_deviation.data.zero_()
    module.slope.data.zero_()
    first, second = (module(features, torch.full((len(features),), n))[0] for n in (0, 2))
    torch.testing.assert_close(first - module.offset[0], second - module.offset[2])
    assert sum(p.numel() for p in module.pattern.parameters()) == 10 * 16 + 16 + 16 * 2 + 2


def test_the_whole_network_has_about_four_hundred_parameters() -> None:
    links = Links(tuple(i // 8 for i in range(24)), tuple(i % 8 for i in range(24)))
    names = ("distance", "azimuth_tag", "azimuth_anchor")
    module = StructuredBias(names, links, Scaling((0.0,) * 3, (1.0,) * 3), [0.0] * 24, [0.0] * 24, 0.01)
    assert 300 <= sum(p.numel() for p in module.parameters()) <= 450


def test_the_regularisation_sees_the_deviations_and_nothing_else() -> None:
    module = network(StructuredBias, SETS[2])
    module.regularisation().backward()
    reached = {n for n, p in module.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert reached == {"tag_deviation", "anchor_deviation"}


def test_the_variance_stays_within_its_bounds_however_far_the_inputs_are() -> None:
    module = network(PlainBias, SETS[4])
    features, link = inputs(SETS[4])
    _, variance, _ = module(1e6 * features, link)
    assert 6e-6 < variance.min() and variance.max() < 7.4
