"""Completions: the replaced text, and the candidates."""

from __future__ import annotations

import stat as st
from collections.abc import Callable, Iterable

import msgspec

from ..errors import BuildError
from ..session import LocalDir

_MOST = 500


class Item(msgspec.Struct, frozen=True):
    """A completion: the text, its kind, and a sentence about it."""

    text: str
    kind: str
    doc: str = ""


class Offer(msgspec.Struct, frozen=True):
    """The text before the cursor that is replaced, and the candidates for its place."""

    fragment: str
    items: tuple[Item, ...]


NOTHING = Offer("", ())


def fields(parts: Iterable[str]) -> dict[str, str]:
    """Return `key=value` parts as a dict; the value of a bare key is ""."""
    pairs = (part.partition("=") for part in parts)
    return {key: value for key, _, value in pairs}


def offer(fragment: str, known: Iterable[tuple[str, str, str]]) -> Offer:
    """Return the (text, kind, doc) triples that begin with the fragment, in order, each once."""
    prefix = fragment.lower()
    fits = {text: Item(text, kind, doc) for text, kind, doc in known if text.lower().startswith(prefix)}
    return Offer(fragment, tuple(fits.values())[:_MOST])


def paths(source: LocalDir, word: str, is_wanted: Callable[[str], bool] = lambda path: True) -> Offer:  # noqa: ARG005
    """Return the files of a directory whose paths begin with the word; a directory ends in `/`."""
    folder, slash, prefix = word.rpartition("/")
    inside = "/".join(part for part in folder.split("/") if part not in ("", "."))
    items: list[tuple[str, str, str]] = []
    try:
        for name in source.names(inside) if ".." not in inside.split("/") else ():
            path = f"{inside}/{name}" if inside else name
            status = source.stat(path) if is_wanted(path) and (prefix.startswith(".") or name[0] != ".") else None
            if status is not None:
                is_folder = st.S_ISDIR(status.mode)
                items.append((name + "/" * is_folder, "folder" if is_folder else "file", ""))
    except (BuildError, OSError):
        return NOTHING
    return offer(prefix, items) if slash or items else NOTHING
