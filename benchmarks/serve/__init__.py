"""`bench serve`: a local page over runs and reports, and detectors that answer for a photo."""
