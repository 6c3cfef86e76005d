"""An image wherever it is: found, pulled, loaded and described."""
