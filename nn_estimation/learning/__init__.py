"""Offline training shared by the wings: trainer, search, export. Needs torch."""
