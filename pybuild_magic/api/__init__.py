"""The path from the arguments of a build to its result, used by `build` and by the magics."""
