"""The running environment as a Dockerfile: what `%build env` and `pybuild env` do, and `pybuild_magic.freeze`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ..builders import embedded_builder
from ..errors import ExportError, UsageError
from ..oci import reference
from ..portable import user_path
from ..run import find_image
from ..store import resolve
from ..store.tree import Tree
from . import kernel_dockerfile
from .configuration import Configuration, configuration
from .elf import Library, libraries
from .imports import Imports, imports_of, notebook_sources, providers, used
from .index import Indexes
from .installed import Environment, conda_prefix, installed
from .kernel_dockerfile import Recipe
from .lock import complete, lock
from .needs import closure, conflicts
from .options import FreezeOptions
from .target import Target, target

KERNEL = "ipykernel"
_INTERPRETER = re.compile(r"/python3\.\d+$")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(=\S+)?")


class Frozen(msgspec.Struct, frozen=True):
    """An environment as a Dockerfile, with the files and the flags that it is built with."""

    name: str
    dockerfile: str
    files: Mapping[str, str | bytes]
    flags: tuple[str, ...]
    environment: Environment
    """What will be in the image."""
    notes: tuple[str, ...] = ()
    """Sentences on what to know about it."""

    def cell(self, variable: str = "files") -> str:
        """Return the text of a `%%build` cell; `variable` is the notebook's name for the files."""
        return f"%%build {shlex.join(self.flags)} ${variable}\n{self.dockerfile}"

    def write(self, directory: str) -> Path:
        """Write the Dockerfile and the files to a directory. Raises ExportError."""
        root = user_path(directory)
        try:
            for name, content in {**self.files, "Dockerfile": self.dockerfile}.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        except OSError as error:
            raise ExportError(f"{root} cannot be written: {error.strerror or error}.") from None
        return root


def freeze(
    options: FreezeOptions | None = None,
    *,
    code: Sequence[str] = (),
    paths: Sequence[str] | None = None,
    **arguments: Any,
) -> Frozen:
    """Return this process's environment as a Dockerfile, or that of the directories of modules `paths`.

    Arguments are the fields of FreezeOptions, such as `freeze(name="analysis", notebook=["analysis.ipynb"])`. `code`
    are the cells of a notebook, for `only_imports`. Raises UsageError for what cannot be asked for, and SourceError
    for what no index has.
    """
    options = _checked(options, arguments)
    chosen = target(options.python, options.platform)
    everything = installed(paths)
    environment, notes = _kept(everything, options, code, chosen, paths)
    installer = options.installer or _installer(everything)
    notes += [f"The environment contradicts itself: {sentence}" for sentence in conflicts(environment, chosen)]
    if installer == "conda":
        from .conda import freeze_conda

        return freeze_conda(options, environment, tuple(notes), chosen)
    settings = configuration()
    with closing(Indexes(settings)) as indexes:
        environment = complete(environment, (KERNEL,), chosen, indexes)
        locked = lock(environment, chosen, indexes)
        uv = lock(complete({}, ("uv",), chosen, indexes), chosen, indexes) if installer == "uv" else None
    image = options.base or f"python:{chosen.python}-slim"
    with _files_of(image) as files:
        if files is not None:
            _check_interpreter(image, files, chosen)
        needed = libraries((each for each in environment.values() if each.location), files)
    notes += [*locked.notes, *_unknown(needed)]
    packages = (*options.apt, *(each.package for each in needed if each.package))
    recipe = Recipe(
        base=image,
        target=chosen,
        lock=locked,
        requested=[each.name for each in environment.values() if each.requested] or list(environment),
        configuration=_merged(settings) if uv else settings,
        installer=installer,
        uv=uv.lines(built=False, hashes=options.hashes) if uv else "",
        hashes=options.hashes,
        packages=tuple(dict.fromkeys(packages)),
        command=_command(environment),
    )
    frozen = Frozen(
        options.name,
        kernel_dockerfile.dockerfile(recipe),
        kernel_dockerfile.files(recipe),
        kernel_dockerfile.flags(options.name, recipe),
        environment,
        tuple(notes),
    )
    if options.write:
        frozen.write(options.write)
    return frozen


@contextmanager
def _files_of(image: str) -> Generator[Tree | None]:
    """Give the file system of a base image that the store has; None for one that a build would pull first."""
    builder = embedded_builder()
    if builder.store.images.get(str(reference.parse(image).tagged())) is None:
        yield None
        return
    with builder.store.lease():
        yield builder.store.tree(find_image(image).snapshot)


def _check_interpreter(image: str, files: Tree, chosen: Target) -> None:
    """Raise UsageError for a base that is known to lack the Python that is wanted."""
    found = [
        entry.path.rpartition("/")[2].removeprefix("python")
        for folder in ("usr/local/bin", "usr/bin", "opt/conda/bin")
        for entry in files.children(resolve(files, folder))
        if _INTERPRETER.search(entry.path)
    ]
    if chosen.python not in found:
        has = (
            f"It has Python {', '.join(found)}: --python {found[0]}, or another base." if found else "Give it another."
        )
        raise UsageError(f"The base image {image} has no python{chosen.python}.", hint=has)


def _checked(options: FreezeOptions | None, arguments: dict[str, Any]) -> FreezeOptions:
    """Return the options, with arguments put in. Raises UsageError for what cannot be."""
    if options is None:
        unknown = next((name for name in arguments if name not in FreezeOptions.__struct_fields__), "")
        if unknown:
            known = ", ".join(FreezeOptions.__struct_fields__)
            raise UsageError(f"freeze() takes no {unknown!r}.", hint=f"It takes {known}.")
        several = {
            name: (value,)
            for name, value in arguments.items()
            if name in ("notebook", "apt") and isinstance(value, str)
        }
        values: dict[str, Any] = {**arguments, **several}
        options = FreezeOptions(**values)
    reference.parse(options.name)
    if options.base:
        reference.parse(options.base)
    if options.installer not in ("", "pip", "uv", "conda"):
        raise UsageError(f"There is no installer {options.installer!r}.", hint="It is pip, uv or conda.")
    for package in options.apt:
        if not _PACKAGE.fullmatch(package):
            raise UsageError(f"--apt {package} is no name of a Debian package.")
    return options


def _kept(
    everything: Environment,
    options: FreezeOptions,
    code: Sequence[str],
    chosen: Target,
    paths: Sequence[str] | None,
) -> tuple[Environment, list[str]]:
    """Return what goes into the image, and what to say of how it was found."""
    if not options.only_imports and not options.notebook:
        return everything, []
    sources = [source for path in options.notebook for source in notebook_sources(user_path(path))]
    if options.only_imports and not options.notebook:
        if not code:
            raise UsageError(
                "--only-imports looks at the code of a notebook, and there is none here.",
                hint="Name it: --notebook analysis.ipynb.",
            )
        sources = [(f"cell {number}", text) for number, text in enumerate(code, 1)]
    imports = imports_of(sources)
    found = used(imports, everything, providers(paths))
    names = [*found.distributions, *([KERNEL] if KERNEL in everything else [])]
    asked = {
        name: msgspec.structs.replace(each, requested=name in found.distributions)
        for name, each in closure(names, everything, chosen).items()
    }
    return asked, [*_doubts(imports), *_elsewhere(found.elsewhere)]


def _doubts(imports: Imports) -> list[str]:
    notes = [f"Which module this imports is known only when it runs: {place}." for place in imports.unknown]
    return notes + [f"{place} is no Python that can be read: what it imports is unknown." for place in imports.unread]


def _elsewhere(modules: Sequence[str]) -> list[str]:
    if not modules:
        return []
    names = ", ".join(modules)
    return [
        f"No distribution has {names}: a file beside the notebook goes in by COPY, anything else is to be installed."
    ]


def _unknown(needed: Sequence[Library]) -> list[str]:
    return [
        f"{each.needed_by} needs {each.name}, and which Debian package has it is not known here: name it with --apt."
        for each in needed
        if not each.package
    ]


def _installer(environment: Environment) -> str:
    """Return what has installed most of an environment: pip, where nothing is recorded."""
    if conda_prefix() is not None:
        return "conda"
    recorded = [each.installer for each in environment.values()]
    return "uv" if recorded.count("uv") > len(recorded) / 2 else "pip"


def _merged(pip: Configuration) -> Configuration:
    """Return what both installers have to know: pip installs uv, and uv the rest."""
    uv = configuration(uv=True)
    secrets = {secret.id: secret for secret in (*pip.secrets, *uv.secrets)}
    return msgspec.structs.replace(pip, variables={**pip.variables, **uv.variables}, secrets=tuple(secrets.values()))


def _command(environment: Environment) -> tuple[str, ...]:
    if "jupyterlab" in environment:
        return ("jupyter", "lab", "--ip=0.0.0.0", "--no-browser")
    return ("python3",)
