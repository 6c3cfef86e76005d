"""The magics of IPython, their commands and their completion."""
