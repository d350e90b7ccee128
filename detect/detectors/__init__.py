"""Detectors: one file per detector with its network and settings, registered by name in `registry`."""
