"""The Docker engine of the user: which one is meant, requests to its API, and images loaded into it."""
