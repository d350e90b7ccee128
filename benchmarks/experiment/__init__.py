"""Requests, presets, settings, and the train x test matrix that they make."""
