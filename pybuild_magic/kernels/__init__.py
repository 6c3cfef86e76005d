"""Kernels in images: kernelspecs for Jupyter (`spec`), and the processes that they start (`launch`)."""
