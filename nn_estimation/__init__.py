"""Small neural networks inside classical state estimators, for ROS 2."""

__version__ = "0.1.0"
