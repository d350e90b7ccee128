"""From a FaceSet to a trained generator."""
