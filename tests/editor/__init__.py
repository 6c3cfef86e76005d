"""Completions, help and diagnostics of cells."""
