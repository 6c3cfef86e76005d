"""The Docker engine that is meant, and images loaded into it."""
