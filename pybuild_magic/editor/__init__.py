"""Answers to editors about `%%build` cells, from the kernel: completions, help and diagnostics."""
