"""What takes room in an image and need not, found in the indexes of its layers before anything is built."""
