"""Real faces: from photos or the renderer to a FaceSet."""
