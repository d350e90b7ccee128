"""Pixels: decoding, JPEG tables, batched operations, grids."""
