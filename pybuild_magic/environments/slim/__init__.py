"""Files that take room in an image unnecessarily, found in the indexes of its layers without building anything."""
