"""The options of a build: as flags, as fields, and as the request that is sent to a builder."""
