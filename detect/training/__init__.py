"""Training of detectors that are networks, and calibration of scores."""
