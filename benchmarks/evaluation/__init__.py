"""From score rows to numbers: metrics, intervals, tests, ranks, audits, tables."""
