"""The tests: a folder an area of the package, and the real services that they run against."""
