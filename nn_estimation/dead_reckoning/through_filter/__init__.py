"""Training through the filter: the filter in torch, and the network and constants that are trained in it."""
