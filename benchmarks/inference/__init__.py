"""Score single photos with fitted detectors: for the command line, notebooks and the web page."""
