"""Compile and load everything an estimator needs before the first message arrives."""

from __future__ import annotations

import numpy as np

from nn_estimation.filters import quaternion
from nn_estimation.uwb.bias import AsMeasured
from nn_estimation.uwb.epochs import Epoch
from nn_estimation.uwb.estimator import UwbEstimator
from nn_estimation.uwb.geometry import NO_ANCHOR
from nn_estimation.uwb.layout import Layout

_EPOCHS = 20


def warm_up(estimator: UwbEstimator) -> None:
    """Run a made-up second of ranges through a copy of the estimator, and its model once."""
    copy = UwbEstimator(estimator.layout, AsMeasured(0.01, 0.0), estimator.params)
    for number in range(_EPOCHS):
        epoch = _epoch(estimator.layout, 0.05 * number)
        result = copy.update(epoch)
        if number == _EPOCHS // 2:
            copy.update_imu(epoch.stamp + 0.01, np.zeros(3), np.array([0.0, 0.0, 9.81]))
    geometry = np.where(np.isnan(result.geometry), 1.0, result.geometry)
    estimator.model.predict(epoch, geometry)
    quaternion(np.eye(3), np.empty(4))


def _epoch(layout: Layout, stamp: float) -> Epoch:
    """All two-way ranges of a level body in the middle of the anchors."""
    tags, anchors = len(layout.tags), len(layout.anchors)
    tag, anchor = np.repeat(np.arange(tags), anchors), np.tile(np.arange(anchors), tags)
    body = layout.anchor_positions.mean(axis=0)
    body[2] = layout.planar_z if layout.planar_z is not None else body[2] - 1.0
    antenna = body + layout.tag_positions[tag]
    measured = np.linalg.norm(layout.anchor_positions[anchor] - antenna, axis=1)
    one_way = np.full(len(tag), NO_ANCHOR)
    return Epoch(stamp, tag, anchor, one_way, measured, np.zeros(len(tag)), np.full((len(tag), 12), np.nan))
