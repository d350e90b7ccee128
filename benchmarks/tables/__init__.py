"""Tables of many runs: leaderboards, comparisons, reproductions."""
