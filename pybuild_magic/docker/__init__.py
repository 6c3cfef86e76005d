"""The user's Docker engine: its address, requests to its API, and images loaded into it."""
