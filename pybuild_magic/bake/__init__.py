"""Bake: files that describe several builds, as `docker buildx bake` reads them.

`hcl` reads a file into blocks and expressions, `evaluate` computes the expressions, `functions` has the functions that
they may call, `targets` resolves groups, inheritance, matrices and overrides, `compose` reads Compose files, which
`project` merges, `values` has the table of fields.
"""
