"""The IPython magics, their commands and their completion."""
