"""The services that the client offers to BuildKit during a build."""
