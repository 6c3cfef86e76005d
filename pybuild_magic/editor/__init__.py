"""What editors want to know of `%%build` cells, from the kernel: completions, help, and what is wrong."""
