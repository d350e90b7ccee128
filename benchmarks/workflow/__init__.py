"""Stages of a run, their order, the store of their results, engines."""
