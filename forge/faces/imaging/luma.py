"""Weights of luma: grey of colour images as ITU-R BT.601 defines it, as JPEG's Y is and as OpenCV reads an image."""

LUMA = (0.299, 0.587, 0.114)  # of gamma-coded R, G and B; they sum to 1, so that white stays white
