"""The geometry of a link: how far, and in which direction each antenna sees the other."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from nn_estimation.uwb.layout import Layout

# Columns of a geometry array. The direction "tag" is that of the anchor in the tag's antenna frame, the
# direction "anchor" that of the tag in the anchor's antenna frame; [m], [rad]. Columns with _b are those of
# the second anchor of a TDoA link, NaN for two-way ranging.
GEOMETRY_FIELDS = (
    "distance",
    "azimuth_tag",
    "elevation_tag",
    "azimuth_anchor",
    "elevation_anchor",
    "distance_b",
    "azimuth_tag_b",
    "elevation_tag_b",
    "azimuth_anchor_b",
    "elevation_anchor_b",
)
NO_ANCHOR = -1  # in anchor_b: a two-way range


@njit(cache=True)
def _one_end(p, R, anchor, R_world_anchor, lever, R_body_tag, out):  # type: ignore[no-untyped-def]
    world = np.empty(3)
    body = np.empty(3)
    for i in range(3):
        world[i] = anchor[i] - p[i] - (R[i, 0] * lever[0] + R[i, 1] * lever[1] + R[i, 2] * lever[2])
    for i in range(3):
        body[i] = R[0, i] * world[0] + R[1, i] * world[1] + R[2, i] * world[2]
    distance = math.sqrt(world[0] ** 2 + world[1] ** 2 + world[2] ** 2)
    out[0] = distance
    x = R_body_tag[0, 0] * body[0] + R_body_tag[1, 0] * body[1] + R_body_tag[2, 0] * body[2]
    y = R_body_tag[0, 1] * body[0] + R_body_tag[1, 1] * body[1] + R_body_tag[2, 1] * body[2]
    z = R_body_tag[0, 2] * body[0] + R_body_tag[1, 2] * body[1] + R_body_tag[2, 2] * body[2]
    out[1] = math.atan2(y, x)
    out[2] = math.atan2(z, math.sqrt(x * x + y * y))
    A = R_world_anchor
    x = -(A[0, 0] * world[0] + A[1, 0] * world[1] + A[2, 0] * world[2])
    y = -(A[0, 1] * world[0] + A[1, 1] * world[1] + A[2, 1] * world[2])
    z = -(A[0, 2] * world[0] + A[1, 2] * world[1] + A[2, 2] * world[2])
    out[3] = math.atan2(y, x)
    out[4] = math.atan2(z, math.sqrt(x * x + y * y))


@njit(cache=True)
def fill_geometry(  # type: ignore[no-untyped-def]
    p, R, pose, anchors, R_world_anchor, levers, R_body_tag, tag, anchor_a, anchor_b, out
):
    """Compiled core of `link_geometry`; p (M, 3), R (M, 3, 3), pose (N,) row of p and R a link belongs to."""
    for n in range(tag.shape[0]):
        m, t = pose[n], tag[n]
        a, b = anchor_a[n], anchor_b[n]
        _one_end(p[m], R[m], anchors[a], R_world_anchor[a], levers[t], R_body_tag[t], out[n, :5])
        if b >= 0:
            _one_end(p[m], R[m], anchors[b], R_world_anchor[b], levers[t], R_body_tag[t], out[n, 5:])
        else:
            out[n, 5:] = np.nan


def link_geometry(
    layout: Layout,
    position: np.ndarray,
    R_world_body: np.ndarray,
    tag: np.ndarray,
    anchor_a: np.ndarray,
    anchor_b: np.ndarray,
    pose: np.ndarray | None = None,
) -> np.ndarray:
    """Geometry of N links from M body poses.

    Args:
        layout: anchors and tags.
        position: (M, 3) or (3,) [m], base_link in the map frame.
        R_world_body: (M, 3, 3) or (3, 3).
        tag: (N,) int64, index into the layout's tags.
        anchor_a: (N,) int64, index into the layout's anchors.
        anchor_b: (N,) int64, second anchor of a TDoA link, `NO_ANCHOR` for a two-way range.
        pose: (N,) int64, the pose each link belongs to; default: all to pose 0.

    Returns:
        (N, 10) float64, columns `GEOMETRY_FIELDS`.
    """
    out = np.empty((len(tag), len(GEOMETRY_FIELDS)))
    if pose is None:
        pose = np.zeros(len(tag), dtype=np.int64)
    p = np.ascontiguousarray(np.atleast_2d(position), dtype=np.float64)
    R = np.ascontiguousarray(np.asarray(R_world_body, dtype=np.float64).reshape(-1, 3, 3))
    fill_geometry(
        p,
        R,
        pose,
        layout.anchor_positions,
        layout.R_world_anchor,
        layout.tag_positions,
        layout.R_body_tag,
        tag,
        anchor_a,
        anchor_b,
        out,
    )
    return out


def true_difference(geometry: np.ndarray) -> np.ndarray:
    """(N,) [m] what an unbiased sensor measures: the distance, or d_B - d_A of a TDoA link."""
    return np.where(np.isnan(geometry[:, 5]), geometry[:, 0], geometry[:, 5] - geometry[:, 0])
