"""The outputs of a build, and the table of the exporters that write them: read from words, and written back."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..errors import UsageError, nearest
from ..golang.parsebool import parse_bool
from ..portable import kind_of, user_path
from .flags import truth
from .values import csv_line, parse_fields, split_csv


class ExporterType(msgspec.Struct, frozen=True):
    """What an exporter writes, and where."""

    image: bool = False
    """Whether it makes an image, which has names and annotations."""
    dest: str = ""
    """What `dest` names: a "file", a "directory", or an "archive" (a file, or with `tar=false` a directory); "" where
    there is no `dest`."""
    engine: bool = False
    """Whether its image goes to the Docker engine when there is no `dest`."""

    @property
    def archive(self) -> bool:
        """Whether it writes an image for other tools to load."""
        return self.dest == "archive"

    @property
    def pushable(self) -> bool:
        """Whether its image may go to a registry."""
        return self.image and not self.archive

    @property
    def files(self) -> bool:
        """Whether it writes the files of the result themselves, as a tree or a tar."""
        return self.dest in ("file", "directory")


EXPORTERS = {
    "image": ExporterType(image=True),
    "registry": ExporterType(image=True),
    "oci": ExporterType(image=True, dest="archive"),
    "docker": ExporterType(image=True, dest="archive", engine=True),
    "local": ExporterType(dest="directory"),
    "tar": ExporterType(dest="file"),
    "cacheonly": ExporterType(),
}
"""The exporters of Docker Build, as `--output type=` takes them. Each has a module of its name in `exporters`."""


def check_type(name: str) -> None:
    """Raise UsageError for an exporter that does not exist, with the nearest that does."""
    if name not in EXPORTERS:
        near = nearest(name, list(EXPORTERS))
        raise UsageError(
            f"There is no exporter {name!r}.",
            hint=f"Did you mean type={near}?" if near else f"The exporters are {', '.join(EXPORTERS)}.",
        )


class Output(msgspec.Struct, frozen=True):
    """The value of `--output`: the exporter's type, its attributes as given, and `dest` ("" without one)."""

    type: str
    attrs: dict[str, str] = {}
    dest: str = ""

    def __str__(self) -> str:
        fields = {"type": self.type, **({"dest": self.dest} if self.dest else {}), **self.attrs}
        return csv_line(fields)

    @property
    def exporter(self) -> ExporterType:
        """The row of its exporter."""
        return EXPORTERS[self.type]

    @property
    def directory(self) -> bool:
        """Whether `dest` is a directory."""
        exporter = self.exporter
        return exporter.dest == "directory" or (exporter.archive and not truth(self.attrs.get("tar", "true"), "tar"))

    @property
    def pushed(self) -> bool:
        """Whether the image goes to a registry."""
        return self.type == "registry" or bool(parse_bool(self.attrs.get("push", "")))


def parse_output(value: str) -> Output:
    """Read `type=TYPE,key=value…`, or a bare path (local). Raises UsageError."""
    fields = split_csv(value, "--output")
    if fields == [value] and not value.startswith("type="):
        if "=" in value and "/" not in value.partition("=")[0]:
            raise UsageError(f"--output {value!r} has no type.", hint=f"Write type=TYPE,{value}.")
        return _checked(Output("tar" if value == "-" else "local", dest=value))
    pairs = parse_fields(fields, "--output")
    kind = pairs.pop("type", "")
    if not kind:
        raise UsageError(f"--output {value!r} has no type.", hint=f"Use one of {', '.join(EXPORTERS)}.")
    return _checked(Output(kind, pairs, pairs.pop("dest", "")))


def _checked(output: Output) -> Output:
    check_type(output.type)
    if output.dest == "-":
        raise UsageError("A notebook cannot write an archive to standard output.", hint="Give dest= a file name.")
    exporter, directory = output.exporter, output.directory
    if not output.dest:
        if exporter.dest and (directory or not exporter.engine):
            where = "a directory" if directory else "a file"
            raise UsageError(f"dest is required for the {output.type} exporter.", hint=f"Give dest= {where}.")
        return output
    if not exporter.dest:
        raise UsageError(f"The {output.type} exporter writes no file, so it takes no dest.")
    dest = user_path(output.dest)
    if directory and kind_of(dest) not in ("", "directory"):
        raise UsageError(f"dest={output.dest} is a file, and the {output.type} exporter writes a directory there.")
    if not directory and kind_of(dest) == "directory":
        raise UsageError(f"dest={output.dest} is a directory, and the {output.type} exporter writes a file there.")
    return output


def pushed(outputs: Sequence[Output]) -> tuple[Output, ...]:
    """Return the outputs as `--push` makes them: images are pushed; if there are none, a pushed image is added."""
    if not any(output.exporter.pushable for output in outputs):
        return (*outputs, Output("registry"))
    return tuple(
        Output(output.type, {**output.attrs, "push": "true"}, output.dest) if output.exporter.pushable else output
        for output in outputs
    )


def loaded(outputs: Sequence[Output]) -> tuple[Output, ...]:
    """Return the outputs as `--load` makes them: unless an image goes to the engine already, one is added."""
    if any(output.type == "docker" and not output.dest for output in outputs):
        return tuple(outputs)
    return (*outputs, Output("docker"))
