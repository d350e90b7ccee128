"""Callbacks of a training; one class a file, each a `forge.training.trainer.Callback`."""
