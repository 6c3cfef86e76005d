"""The owner and the mode that a later `RUN chown` or `RUN chmod` gives to what a COPY brings."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

import msgspec

from ...store import DIR, SYMLINK, Entry
from ...store.entry import WHITEOUT_PREFIX
from .covering import SlimLayer


class Given(msgspec.Struct, frozen=True):
    """What a layer gives to the files of one below, whose contents stay the same."""

    owner: str = ""
    """The value of a `--chown` that does the same, such as `1000:100`; "" if none does or is needed."""
    mode: str = ""
    """The value of a `--chmod` that does the same, such as `750`; "" if none does or is needed."""
    directories: str = ""
    """Without such flags: the commands for the directories of its destination, which a COPY does not bring along."""


def given(layers: Sequence[SlimLayer], number: int, above: int, dest: str) -> Given:
    """Return what layer `above` gives to what layer `number` copies to `dest`.

    A flag is for all that is copied, and `--chown` for the directories that are made above it, too.
    """
    below = {entry.path for layer in layers[:number] for entry in layer.entries if entry.type == DIR}
    after = {entry.path: entry for entry in layers[above].entries}
    pairs = [(entry, after.get(entry.path, entry)) for entry in layers[number].entries if _is_copied(entry, below)]
    inside = f"{dest.strip('/')}/"
    made = [pair for pair in pairs if pair[0].type == DIR and inside.startswith(f"{pair[0].path}/")]
    owners = {_owner(then) for _, then in pairs}
    modes = {then.mode for entry, then in pairs if entry.type != SYMLINK}
    is_moded = any(entry.mode != then.mode for entry, then in pairs)
    if len(owners) == 1 and (not is_moded or (len(modes) == 1 and not made)):
        is_owned = any(_owner(entry) != _owner(then) for entry, then in pairs)
        return Given(owners.pop() if is_owned else "", f"{modes.pop():o}" if is_moded else "")
    commands = [f"chown {_owner(then)} /{then.path}" for entry, then in made if _owner(entry) != _owner(then)]
    commands += [f"chmod {then.mode:o} /{then.path}" for entry, then in made if entry.mode != then.mode]
    return Given(directories=" && ".join(commands))


def _owner(entry: Entry) -> str:
    return f"{entry.uid}:{entry.gid}"


def _is_copied(entry: Entry, below: set[str]) -> bool:
    is_whiteout = posixpath.basename(entry.path).startswith(WHITEOUT_PREFIX)
    return entry.path != "" and not is_whiteout and not (entry.type == DIR and entry.path in below)
