"""Audits: shortcuts that make a detector look better than it is."""
