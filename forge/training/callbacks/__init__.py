"""Callbacks of a training; one class per file, each a `forge.training.trainer.Callback`."""
