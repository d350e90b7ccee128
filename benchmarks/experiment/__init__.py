"""What is asked for: requests, presets, settings, and the train x test matrix that they make."""
