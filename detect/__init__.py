"""Detectors of forged faces: fit, score, explain."""
