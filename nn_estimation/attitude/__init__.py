"""Attitude: rotations from networks, and a filter of orientation that a network corrects."""
