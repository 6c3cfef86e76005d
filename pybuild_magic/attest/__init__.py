"""Attestations: what a result was made of (provenance), and what is in it (an SBOM), as in-toto statements."""
