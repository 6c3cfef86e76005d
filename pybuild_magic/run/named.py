"""Named volumes: directories of the store that outlive the processes that use them, until they are removed."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec

from ..builders import embedded_builder
from ..errors import StoreError, UsageError, nearest
from ..store.blobfiles import disk_errors
from ..store.locks import lock_file
from ..store.usage import directory_size
from .volumes import check_volume_name

_DIRECTORY = "volumes"
_DATA, _LOCK = "data", "lock"
_PAUSE = 0.01


class NamedVolume(msgspec.Struct, frozen=True):
    """A named volume of the store."""

    name: str
    path: Path
    """The directory of its files."""
    created: float
    """Seconds since 1970."""
    in_use: bool

    @property
    def size(self) -> int:
        """Bytes on the disk; files that cannot be read do not count."""
        return directory_size(self.path)


@contextmanager
def held_volumes(names: Iterable[str]) -> Generator[dict[str, Path]]:
    """Yield the directories of volumes, which are created if missing; nobody removes them during the block."""
    with ExitStack() as stack:
        places: dict[str, Path] = {}
        for name in sorted({*names}):
            places[name], lock = _hold(_root() / name)
            stack.callback(os.close, lock)
        yield places


def create_volume(name: str) -> None:
    """Create a volume, unless one of this name exists."""
    with held_volumes([check_volume_name(name)]):
        pass


def list_volumes() -> list[NamedVolume]:
    """Return the volumes of the store, by name."""
    volumes: list[NamedVolume] = []
    for place in sorted(_root().iterdir()):
        with suppress(FileNotFoundError):  # it is being removed right now
            lock = lock_file(place / _LOCK)
            if lock is not None:
                os.close(lock)
            volumes.append(NamedVolume(place.name, place / _DATA, (place / _LOCK).stat().st_ctime, lock is None))
    return volumes


def remove_volume(name: str) -> None:
    """Remove a volume and its files. Raises UsageError if it does not exist, and StoreError if it is in use."""
    place = _root() / check_volume_name(name)
    try:
        lock = lock_file(place / _LOCK)
    except FileNotFoundError:
        suggestion = nearest(name, [volume.name for volume in list_volumes()])
        raise UsageError(
            f"There is no volume {name}.",
            hint=f"Did you mean {suggestion}?" if suggestion else "%build volumes lists them.",
        ) from None
    if lock is None:
        raise StoreError(f"The volume {name} is in use.", hint="%build ps shows what runs in the background.")
    store = embedded_builder().store
    try:
        trash = store.root / "trash" / os.urandom(8).hex()
        place.rename(trash)
    finally:
        os.close(lock)
    with suppress(OSError, StoreError):  # the next collection tries again
        store.remove_tree(trash)


def prune_volumes() -> list[NamedVolume]:
    """Remove the volumes that no process uses, and return them."""
    removed: list[NamedVolume] = []
    for volume in list_volumes():
        if not volume.in_use:
            with suppress(StoreError, UsageError):  # somebody has just taken or removed it
                remove_volume(volume.name)
                removed.append(volume)
    return removed


def _root() -> Path:
    return embedded_builder().store.root / _DIRECTORY


def _hold(place: Path) -> tuple[Path, int]:
    """Create the directory of a volume if need be, and lock it as one of many users.

    Returns the directory of its files, and the descriptor of the lock.
    """
    with disk_errors(place.parent.parent, "making a volume"):
        while True:
            place.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileNotFoundError):  # it was removed meanwhile
                lock = lock_file(place / _LOCK, shared=True)
                if lock is not None:
                    data = place / _DATA
                    if not data.exists():
                        data.mkdir(mode=0o755, exist_ok=True)
                        data.chmod(0o755)
                    return data, lock
            time.sleep(_PAUSE)
