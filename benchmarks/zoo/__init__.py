"""The zoo: trained generators and detectors as small folders that a name stands for."""
