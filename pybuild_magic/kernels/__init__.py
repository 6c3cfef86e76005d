"""Kernels that run in images: kernelspecs for Jupyter (`spec`), and what they start (`launch`)."""
