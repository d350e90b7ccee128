"""Forgeries made from real faces without a generator."""
