"""Go's `os.FileMode`, whose bits differ from those of `st_mode`, as fsutil sends it."""

from __future__ import annotations

import stat as st

_GO_DIR, _GO_SYMLINK, _GO_DEVICE, _GO_FIFO = 1 << 31, 1 << 27, 1 << 26, 1 << 25
_GO_SOCKET, _GO_SETUID, _GO_SETGID, _GO_CHAR, _GO_STICKY = 1 << 24, 1 << 23, 1 << 22, 1 << 21, 1 << 20
_TYPES = {
    st.S_IFREG: 0,
    st.S_IFDIR: _GO_DIR,
    st.S_IFLNK: _GO_SYMLINK,
    st.S_IFIFO: _GO_FIFO,
    st.S_IFBLK: _GO_DEVICE,
    st.S_IFCHR: _GO_DEVICE | _GO_CHAR,
    st.S_IFSOCK: _GO_SOCKET,
}
_KINDS = {go: unix for unix, go in _TYPES.items()}
_TYPE_BITS = _GO_DIR | _GO_SYMLINK | _GO_DEVICE | _GO_FIFO | _GO_SOCKET | _GO_CHAR
_BITS = ((st.S_ISUID, _GO_SETUID), (st.S_ISGID, _GO_SETGID), (st.S_ISVTX, _GO_STICKY))


def go_mode(mode: int) -> int:
    """Return Go's `os.FileMode` for a `st_mode`."""
    go = _TYPES[st.S_IFMT(mode)] | (mode & 0o777)
    if mode & 0o7000:
        for unix, bit in _BITS:
            if mode & unix:
                go |= bit
    return go


def unix_mode(go: int) -> int:
    """Return the `st_mode` for a Go `os.FileMode`. Raises ValueError for an unknown type."""
    kind = _KINDS.get(go & _TYPE_BITS)
    if kind is None:
        raise ValueError(f"the file mode {go:#o} has no known type")
    mode = kind | (go & 0o777)
    for unix, bit in _BITS:
        if go & bit:
            mode |= unix
    return mode
