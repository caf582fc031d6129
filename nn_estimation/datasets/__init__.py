"""Importers: one public data set a file, each to rosbag2."""
