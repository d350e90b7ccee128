"""Engines: where stages run."""
