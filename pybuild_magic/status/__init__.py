"""The progress of a build: BuildKit's SolveStatus, its report, its trace and the names of steps."""
