"""The helper process: a small program, started once, that forks sandboxes and imports only the standard library.

It runs under `python -I -S` beside the process that builds, because that process has threads and must not fork. Its
modules are: `server` (jobs in, results out), `idmap` (becoming root in a user namespace), `ground` and `container` (the
built-in sandbox), `runtime` (runc), `mounts`, `inside`, `devices` and `security` (what both need), `extract` (layer to
directory), `erofs` (layer to image), `changes` (directory to layer) and `linux` (system calls).
"""
