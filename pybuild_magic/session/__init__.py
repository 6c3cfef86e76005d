"""What the client offers a builder: directories, secrets, SSH agents, credentials and export sinks."""
