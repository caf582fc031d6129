"""A trolley that circles among anchors, with a bias whose every part is known."""

from pathlib import Path

import numpy as np

from nn_estimation.datasets.recording import Recording, yaw_quaternion
from nn_estimation.uwb.geometry import NO_ANCHOR, link_geometry
from nn_estimation.uwb.layout import Anchor, Layout, Tag

CORNERS = ((0.0, 0.0, 2.0), (8.0, 0.0, 2.2), (8.0, 6.0, 1.8), (0.0, 6.0, 2.1))


def about_z(yaw: float) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


LAYOUT = Layout(
    tuple(Anchor(f"a{i}", np.array(corner)) for i, corner in enumerate(CORNERS)),
    (
        Tag("left", np.array([0.2, 0.3, 0.1])),
        Tag("right", np.array([0.2, -0.3, 0.1]), about_z(np.pi / 2)),
    ),
    planar_z=0.5,
)


def trajectory(
    seconds: float, rate: float = 20.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stamps (N,), positions (N, 3), headings (N,)."""
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, 3)
    t = np.arange(0.0, seconds, 1.0 / rate)
    x = 4.0 + 2.5 * np.sin(0.31 * t + phase[0])
    y = 3.0 + 1.8 * np.sin(0.43 * t + phase[1])
    yaw = 0.53 * t + 0.8 * np.sin(0.21 * t + phase[2])
    return 100.0 + t, np.stack([x, y, np.full_like(t, 0.5)], axis=1), yaw


def pattern(azimuth: np.ndarray) -> np.ndarray:
    """[m] of the antenna, the same for both tags."""
    return 0.08 * np.sin(azimuth) + 0.05 * np.cos(2 * azimuth + 0.4)


def write_bag(
    directory: Path,
    name: str,
    *,
    seconds: float = 60.0,
    seed: int = 0,
    noise: float = 0.03,
    power: bool = False,
) -> Path:
    """A recording with offsets and slopes of the links, an antenna pattern, and power that tells of blockage."""
    rng = np.random.default_rng(seed)
    stamps, position, yaw = trajectory(seconds, seed=seed)
    layout = LAYOUT
    recording = Recording(name, "made up", "CC0-1.0", layout.to_yaml(), {"max_abs_error_m": 2.0})
    recording.add_truth(stamps, position, yaw_quaternion(yaw))
    tag, anchor = (x.ravel() for x in np.meshgrid(np.arange(2), np.arange(4), indexing="ij"))
    for i, stamp in enumerate(stamps):
        geometry = link_geometry(
            layout, position[i], about_z(yaw[i]), tag, anchor, np.full(len(tag), NO_ANCHOR)
        )
        blocked = rng.random(len(tag)) < 0.3
        error = 0.1 * anchor - 0.1 + 0.02 * (geometry[:, 0] - 4.0) + pattern(geometry[:, 1])
        error += noise * rng.standard_normal(len(tag)) + (0.25 * blocked if power else 0.0)
        for n in range(len(tag)):
            names = layout.tags[tag[n]].name, layout.anchors[anchor[n]].name
            if power:
                drop = 10.0 * blocked[n] + rng.normal(0.0, 0.5)
                topic = layout.tag_topic(names[0], "power")
                received = -80.0 + rng.normal()
                recording.add_power(topic, stamp, names[1], received, received - 3.0 - drop, np.nan)
            topic = layout.tag_topic(names[0], "range")
            recording.add_range(topic, stamp, names[1], geometry[n, 0] + error[n])
    return recording.write(directory)
