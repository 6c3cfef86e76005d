"""Benchmarks of ours beside a real BuildKit: the scenarios of moby/buildkit-bench, and those of notebooks."""
