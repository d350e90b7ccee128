"""From stored scores to numbers: point metrics, their intervals, evaluations and audits."""
