"""Prints what a tree looks like from inside of it: a line of Python, path to type, mode, owner, device and xattrs."""

import os
import stat

LEFT_OUT = ("/proc", "/dev", "/sys", "/var/cache", "/var/log", "/var/lib/apt", "/run", "/scenario", "/root/.cache")


def look(path: str) -> list[object]:
    info = os.lstat(path)
    xattrs: dict[str, str] = {}
    if stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode):
        xattrs = {name: os.getxattr(path, name).hex() for name in os.listxattr(path) if name != "security.selinux"}
    device = stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)
    links = 0 if stat.S_ISDIR(info.st_mode) else info.st_nlink
    row = [oct(info.st_mode), info.st_uid, info.st_gid, info.st_rdev if device else 0, links, xattrs]
    if stat.S_ISREG(info.st_mode) and not path.startswith(("/var/lib/dpkg", "/etc/shadow", "/etc/ld.so.cache")):
        row.append(info.st_size)
    return row


def main() -> None:
    found: dict[str, list[object]] = {}
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if f"{folder.rstrip('/')}/{name}" not in LEFT_OUT]
        for name in folders + files:
            path = f"{folder.rstrip('/')}/{name}"
            if path not in LEFT_OUT:
                found[path] = look(path)
    print("MANIFEST " + repr(found))


main()
