"""From the arguments of a build to its result: what `build` and the magics call."""
