"""Transforms: a pose on /tf, where tf2_ros is installed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rclpy.node import Node

from nn_estimation.parameters import ParameterError


def transform_broadcaster(
    node: Node, frame: str, child_frame: str
) -> Callable[[tuple[int, np.ndarray, np.ndarray]], None]:
    """A function that sends (stamp [ns], position (3,) [m], quaternion (4,) x, y, z, w) of child_frame in frame.

    Raises:
        ParameterError: tf2_ros is not installed.
    """
    try:
        from geometry_msgs.msg import TransformStamped
        from tf2_ros import TransformBroadcaster
    except ImportError as error:
        raise ParameterError("publish_tf needs tf2_ros, which a ROS 2 installation has") from error
    broadcaster = TransformBroadcaster(node)

    def send(pose: tuple[int, np.ndarray, np.ndarray]) -> None:
        stamp, position, quaternion = pose
        message = TransformStamped()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        message.header.frame_id, message.child_frame_id = frame, child_frame
        place, turn = message.transform.translation, message.transform.rotation
        place.x, place.y, place.z = position.tolist()
        turn.x, turn.y, turn.z, turn.w = quaternion.tolist()
        broadcaster.sendTransform(message)

    return send
