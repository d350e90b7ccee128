"""Plans and runs experiments, evaluates detectors, writes reports."""
