"""What runs, in which order, and where its result lies."""
