"""Ours and a real BuildKit, side by side: the scenarios of moby/buildkit-bench, and the ones that notebooks have."""
