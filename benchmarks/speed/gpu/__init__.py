"""The run on a GPU machine: `make gpu` tests, measures and trains there, in minutes and without a network."""
