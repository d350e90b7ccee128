"""Networks and layers that several detectors share."""
