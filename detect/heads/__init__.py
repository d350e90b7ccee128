"""What turns features into scores: each learns from a Design and is a few arrays."""
