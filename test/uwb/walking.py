"""Two rooms, and a localization that walks in them."""

from collections.abc import Iterator

import numpy as np
from scipy.spatial.transform import Rotation

from nn_estimation.uwb.bias import AsMeasured, Bias
from nn_estimation.uwb.epochs import Epoch
from nn_estimation.uwb.gate import GateParams
from nn_estimation.uwb.geometry import NO_ANCHOR, link_geometry, true_difference
from nn_estimation.uwb.layout import Anchor, Layout, Tag
from nn_estimation.uwb.localization import Localization, LocalizationParams, PoseEstimate

CORNERS = [(x, y, z) for x in (0.0, 8.0) for y in (0.0, 6.0) for z in (0.3, 2.6)]
ANCHORS = tuple(Anchor(f"a{i}", np.array(corner)) for i, corner in enumerate(CORNERS))
TAGS = (Tag("left", np.array([0.25, 0.2, 0.05])), Tag("right", np.array([-0.25, -0.2, 0.05])))
PLANE = Layout(ANCHORS, TAGS, planar_z=0.5)
SPACE = Layout(ANCHORS, TAGS)
SIGMA = 0.05  # [m]
# An ordinary Kalman filter: nothing robust, nothing gated, errors without memory.
PLAIN = LocalizationParams(robust_scale=1e6)
OPEN = GateParams(max_speed=1e6, chi2_sigmas=1e6)


def epoch(
    layout: Layout,
    stamp: float,
    position: np.ndarray,
    yaw: float = 0.0,
    *,
    rng: np.random.Generator | None = None,
    tdoa: bool = False,
) -> Epoch:
    tags, anchors = len(layout.tags), len(layout.anchors)
    tag, a = np.repeat(np.arange(tags), anchors), np.tile(np.arange(anchors), tags)
    b = (a + 1) % anchors if tdoa else np.full(len(a), NO_ANCHOR)
    R = Rotation.from_euler("z", yaw).as_matrix()
    measured = true_difference(link_geometry(layout, position, R, tag, a, b))
    if rng is not None:
        measured = measured + SIGMA * rng.standard_normal(len(measured))
    return Epoch(stamp, tag, a, b, measured, np.zeros(len(a)), np.full((len(a), 12), np.nan))


class Loop:
    """A localization fed with epochs whose ranges have no bias."""

    def __init__(
        self,
        layout: Layout,
        params: LocalizationParams | None = None,
        gate: GateParams | None = None,
        variance: float = SIGMA**2,
    ) -> None:
        self.filter = Localization(layout, params, gate)
        self.model = AsMeasured(variance, 0.0)

    def __call__(self, one: Epoch) -> PoseEstimate | None:
        self.filter.predict(one.stamp)
        if not self.filter.tracking:
            self.filter.start(one, self.model)
        else:
            geometry = self.filter.geometry(one)
            bias: Bias = self.model.predict(one, geometry)
            status = np.zeros(len(one.tag), dtype=np.uint8)
            self.filter.update(one, geometry, bias, np.ones(len(status)), status)
        return self.filter.pose()


def one_by_one(whole: Epoch, pause: float) -> Iterator[Epoch]:
    """The links of an epoch with a stamp each, [s] apart."""
    for n in range(len(whole.tag)):
        m = slice(n, n + 1)
        yield Epoch(
            whole.stamp + n * pause, whole.tag[m], whole.anchor_a[m], whole.anchor_b[m], whole.measured[m],
            whole.variance[m], whole.power[m],
        )  # fmt: skip


def walk(t: float) -> tuple[np.ndarray, float]:
    """A slow walk within the anchors."""
    return np.array([4.0 + 1.5 * np.sin(0.4 * t), 3.0 + np.cos(0.5 * t), 0.5]), 0.3 * t


def started(layout: Layout, **arguments: object) -> Loop:
    """A loop that has followed `walk` for two seconds at 20 Hz."""
    loop = Loop(layout, **arguments)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    for i in range(40):
        loop(epoch(layout, i / 20, *walk(i / 20), rng=rng))
    assert loop.filter.tracking
    return loop


def yaw_of(pose: PoseEstimate) -> float:
    return float(np.arctan2(pose.R_world_body[1, 0], pose.R_world_body[0, 0]))


def wrapped(angle: float) -> float:
    return (angle + np.pi) % (2 * np.pi) - np.pi
