"""Tests of the trainer: what several of them train is in `trainings`."""
