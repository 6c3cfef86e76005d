"""Kernelspecs for kernels in images: written, listed and removed in the user's Jupyter directories."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..builders import embedded_builder
from ..errors import UnsupportedError, UsageError, nearest
from ..oci import reference
from ..portable import user_path
from ..run import RunOptions, image_for
from ..run.options import options_of
from ..temporary import temporary_directory
from .find import ImageKernel, choose_kernel, home_of, image_kernels
from .launch import OURS, KernelRequest, Program, read_request

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpecManager

_INHERITED = ("PYBUILD_HOME", "PYBUILD_RUNG", "PYBUILD_RUNTIME")
"""Variables without which a kernel would use another store, or run differently."""
NOT_OF_KERNELS = (
    "detach",
    "detach_from_kernel",
    "rm",
    "interactive",
    "tty",
    "stdin",
    "commit",
    "diff",
    "init",
    "entrypoint",
    "pull",
    "attach",
    "cidfile",
    "labels",
    "label_files",
    "health_cmd",
    "health_interval",
    "health_timeout",
    "health_start_period",
    "health_start_interval",
    "health_retries",
    "no_healthcheck",
)
"""Fields of a run's options that do not apply to kernels."""


class InstalledKernel(msgspec.Struct, frozen=True):
    """A kernelspec on this machine whose kernel runs in an image."""

    name: str
    display_name: str
    image: str
    kernel: str
    """The kernel's name in the image."""
    path: str
    digest: str
    """The ID of the image when the kernelspec was written."""

    def __repr__(self) -> str:
        return f"Kernel {self.name}: {self.display_name}. Choose it in the notebook's kernel menu."


def install(
    image: str, options: RunOptions, name: str = "", display_name: str = "", prefix: str = ""
) -> tuple[InstalledKernel, ...]:
    """Write a kernelspec for each kernel of an image, replacing kernelspecs of the same name.

    `name` is that of the first kernel, by default derived from the image's name; the others append their own. They are
    installed for the user, or in the directory `prefix`, such as that of an environment. Raises UsageError for an image
    without kernels, UnsupportedError without jupyter_client.
    """
    manager = _manager()
    _check(options)
    with embedded_builder().store.lease():
        found_image = image_for(image, options)
        kernels, home = image_kernels(found_image), home_of(found_image)
    choose_kernel(kernels, "", image)
    options = _anywhere(options)
    base = (name or re.sub(r"[^a-z0-9._-]+", "-", found_image.name.lower().removesuffix(":latest")).strip("-")).lower()
    if not re.fullmatch(r"[a-z0-9._-]+", base):
        raise UsageError(
            f"{base!r} cannot be the name of a kernel.",
            hint="Use only letters, digits, dots, hyphens and underscores.",
        )
    specs: list[InstalledKernel] = []
    for number, kernel in enumerate(kernels):
        title = f"{kernel.display_name.removesuffix(' (ipykernel)')} in {found_image.name}"
        spec = InstalledKernel(
            name=f"{base}-{kernel.name}" if number else base,
            display_name=(display_name or title) if not number else title,
            image=image,
            kernel=kernel.name,
            path="",
            digest=found_image.config.digest,
        )
        specs.append(_write(manager, spec, kernel, home, options, prefix))
    return tuple(specs)


def install_image(names: Sequence[str], name: str = "", display_name: str = "", **arguments: Any) -> InstalledKernel:
    """Write the kernelspecs of an image under its first name, and return the first; `arguments` are those of `run`.

    Raises UsageError for an unnamed image, which could not be found again, and as `install`.
    """
    if not names:
        raise UsageError("A kernel needs an image with a name.", hint="Build it with -t NAME.")
    return install(reference.parse(names[0]).familiar, options_of(arguments), name, display_name)[0]


def installed() -> tuple[InstalledKernel, ...]:
    """Return the kernelspecs on this machine whose kernels run in images, by name."""
    kernels: list[InstalledKernel] = []
    for name, entry in sorted(_manager().get_all_specs().items()):
        spec: dict[str, Any] = entry["spec"]
        if OURS in spec.get("metadata", {}):
            path = str(entry["resource_dir"])
            with suppress(UsageError):
                request = read_request(path)
                title = str(spec.get("display_name", name))
                kernels.append(InstalledKernel(name, title, request.image, request.kernel, path, request.digest))
    return tuple(kernels)


def remove(name: str) -> str:
    """Remove a kernelspec written by `install`, and return its directory. Raises UsageError for any other."""
    names = [kernel.name for kernel in installed()]
    if name.lower() not in names:
        suggestion = nearest(name, names)
        raise UsageError(
            f"There is no kernel {name} that runs in an image.",
            hint=f"Did you mean {suggestion}?" if suggestion else "List them with %build kernels.",
        )
    return str(_manager().remove_kernel_spec(name.lower()))


def _manager() -> KernelSpecManager:
    try:
        from jupyter_client.kernelspec import KernelSpecManager
    except ImportError:
        raise UnsupportedError(
            "Kernels need jupyter_client, which is not installed.", hint="Install it: pip install jupyter_client"
        ) from None
    return KernelSpecManager()


def _check(options: RunOptions) -> None:
    default = RunOptions()
    for field in NOT_OF_KERNELS:
        if getattr(options, field) != getattr(default, field):
            raise UsageError(f"A kernel does not support --{field}.", hint="%build run does.")


def _anywhere(options: RunOptions) -> RunOptions:
    """Return the options with paths that do not depend on the notebook's directory."""

    def absolute(path: str) -> str:
        return str(user_path(path).absolute())

    return msgspec.structs.replace(
        options,
        volumes=tuple(
            msgspec.structs.replace(volume, source=absolute(volume.source)) if volume.source else volume
            for volume in options.volumes
        ),
        env_files=tuple(map(absolute, options.env_files)),
    )


def _write(
    manager: KernelSpecManager,
    spec: InstalledKernel,
    kernel: ImageKernel,
    home: str,
    options: RunOptions,
    prefix: str,
) -> InstalledKernel:
    program = Program(kernel.argv, kernel.env, home)
    request = KernelRequest(spec.image, spec.kernel, options, spec.digest, program)
    document = {
        "argv": [sys.executable, "-m", "pybuild_magic.kernels", "{resource_dir}", "{connection_file}"],
        "display_name": spec.display_name,
        "language": kernel.language,
        "interrupt_mode": kernel.interrupt_mode,
        "env": {name: os.environ[name] for name in _INHERITED if name in os.environ},
        "metadata": {
            "debugger": kernel.debugger,
            OURS: msgspec.to_builtins(request),
        },
    }
    with temporary_directory() as directory:
        folder = Path(directory)
        (folder / "kernel.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        for picture, data in kernel.pictures.items():
            (folder / picture).write_bytes(data)
        if prefix:  # otherwise it warns that no Jupyter will look there
            manager.kernel_dirs = [str(Path(prefix, "share/jupyter/kernels")), *manager.kernel_dirs]
        try:
            path = manager.install_kernel_spec(directory, spec.name, user=not prefix, prefix=prefix or None)
        except OSError as error:
            raise UsageError(f"The kernelspec cannot be written: {error}.") from error
    return msgspec.structs.replace(spec, path=path)
