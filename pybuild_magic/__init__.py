"""Build, export and explore container images from a notebook, with or without Docker."""
