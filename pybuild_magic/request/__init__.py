"""The options of a build, as flags, fields and the request that goes to a builder."""
