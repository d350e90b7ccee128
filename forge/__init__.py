"""Faces, real and forged: sources, FaceSets, generators and their training."""
