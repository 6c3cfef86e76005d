"""Rules of Go's standard library and of moby/patternmatcher that Dockerfiles and images depend on."""
