"""Measurements of speed beside plain code, and the run on a GPU machine."""
