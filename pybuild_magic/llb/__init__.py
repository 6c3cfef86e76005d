"""LLB, BuildKit's low-level build graph: everything that the Dockerfile front end hands to a solver."""
