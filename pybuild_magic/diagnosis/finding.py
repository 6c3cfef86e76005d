"""A finding: one thing that was examined, the verdict, and the needs whose fulfilment would improve it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class State(StrEnum):
    """The verdict on a finding."""

    GOOD = "good"
    FAIR = "fair"
    """It works, and could be better."""
    BAD = "bad"
    """Something does not work."""


class Want(StrEnum):
    """The needs behind findings; `remedies` knows how to meet them."""

    NAMESPACES = "namespaces"
    APPARMOR = "AppArmor"
    """The container's profile is in the way."""
    CAPABILITIES = "capabilities"
    """Some are dropped."""
    KERNEL = "kernel"
    """The kernel's settings deny namespaces."""
    TRACING = "tracing"
    """The kernel's settings deny it."""
    PROC = "proc"
    SUBORDINATE_IDS = "subordinate ids"
    PRIVILEGES = "new privileges"
    """newuidmap must be able to gain privileges."""
    VOLUME = "volume"
    TEMPORARY = "temporary files"
    GROUP = "fsGroup"
    """The cluster must not change the volume's files again and again."""
    EXEC = "exec"
    FILES = "files"
    PROCESSES = "processes"
    MEMORY = "memory"
    SHM = "shm"
    ROOM = "room"
    EXTENSION = "extension"
    WIDGETS = "widgets"
    NETWORK = "network"


class Finding(msgspec.Struct, frozen=True):
    """One finding, in words."""

    subject: str
    state: State
    text: str
    wants: tuple[Want, ...] = ()
