"""The report of a run: one page for people, one for pull requests, and every number as data."""
