"""A package, so that two wings may each have a test_estimator.py."""
