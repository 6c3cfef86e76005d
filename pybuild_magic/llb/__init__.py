"""LLB, BuildKit's low-level build graph: all that passes from the Dockerfile front end to a solver."""
