"""gRPC over HTTP/2, as far as a client of BuildKit needs it, including the calls that BuildKit makes back."""
