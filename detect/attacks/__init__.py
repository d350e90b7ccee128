"""Attacks on detectors: changes of an image that make a detector take it for the other class."""

from detect.attacks.registry import ATTACKS

__all__ = ["ATTACKS"]
