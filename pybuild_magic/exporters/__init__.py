"""One module for each exporter of Docker Build."""
