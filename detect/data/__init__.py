"""Images that detectors are fitted on and tested on: views, batches, augmentation, perturbations."""
