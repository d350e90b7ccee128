"""Health of a training: observation, metrics, failure modes."""
