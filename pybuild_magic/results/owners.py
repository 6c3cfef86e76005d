"""The names of the owners of an image's files, from the image's own passwd and group files."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from ..builders.embedded.accounts import GROUP, MAX_BYTES, PASSWD, groups, users
from ..errors import BuildError
from ..store import LayerTree, resolve
from ..summary import FileSummary, ManifestSummary
from .summarise import readable

_MOST = 60
"""How many users, and how many groups, have their names kept: those with the lowest ids."""
_LONGEST = 32
"""The most characters of a name, as in useradd."""


class Owners(msgspec.Struct, frozen=True):
    """Names by id; the ids are texts, as keys of JSON are."""

    users: dict[str, str] = {}
    groups: dict[str, str] = {}

    def user(self, file: FileSummary) -> str:
        """Return the name of a file's user, or the number of one without a name. 0 is `root` by default."""
        return self.users.get(str(file.uid)) or ("root" if file.uid == 0 else str(file.uid))

    def group(self, file: FileSummary) -> str:
        """Return the name of a file's group, or the number of one without a name."""
        return self.groups.get(str(file.gid)) or ("root" if file.gid == 0 else str(file.gid))

    def of(self, file: FileSummary) -> str:
        """Return `USER:GROUP`, or only `USER` where both have the same name."""
        user, group = self.user(file), self.group(file)
        return user if user == group else f"{user}:{group}"


def owners_of(tree: LayerTree, *, quick: bool = False) -> Owners:
    """Return the names from the passwd and group files of an image; none if these cannot be read.

    With `quick`, a file whose layer would have to be unpacked first counts as one that cannot be read.
    """
    return Owners(
        _names(tree, PASSWD, lambda data: ((user.uid, user.name) for user in users(data)), quick),
        _names(tree, GROUP, lambda data: ((group.gid, group.name) for group in groups(data)), quick),
    )


def _names(
    tree: LayerTree, path: str, read: Callable[[bytes], Iterable[tuple[int, str]]], quick: bool
) -> dict[str, str]:
    names: dict[int, str] = {}
    try:
        entry = tree.get(resolve(tree, path))
        fits = entry is not None and 0 < entry.size <= MAX_BYTES and not (quick and tree.is_packed(entry))
        data = tree.read(entry) if entry is not None and fits else b""
        for number, name in read(data):
            if name and number >= 0:
                names.setdefault(number, readable(name)[:_LONGEST])
    except BuildError:
        return {}
    return {str(number): names[number] for number in sorted(names)[:_MOST]}


def with_owners(manifest: ManifestSummary, owners: Owners) -> ManifestSummary:
    """Return the manifest with the names of its image's users and groups."""
    return msgspec.structs.replace(manifest, users=owners.users, groups=owners.groups)
