"""The data of a finished build: its summary, the contents of its layers, and its difference from another build."""
