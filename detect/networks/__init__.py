"""Networks of detectors; imported only when one is built."""
