"""The kernel's answers to editors of `%%build` cells: completions, help and diagnostics."""
