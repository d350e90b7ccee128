"""The base of all packages: errors, files, plug-ins, devices, checkpoints, processes."""
