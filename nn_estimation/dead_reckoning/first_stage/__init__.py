"""The supervised stage before the training through the filter."""
