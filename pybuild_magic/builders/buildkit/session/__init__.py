"""The services that a client offers to BuildKit during a build."""
