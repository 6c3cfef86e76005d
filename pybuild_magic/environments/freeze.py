"""The running environment as a Dockerfile, for `%build env`, `pybuild env` and `pybuild_magic.freeze`."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import msgspec

from ..errors import UsageError
from ..oci import reference
from ..portable import user_path
from . import kernel_dockerfile, pylock
from .base import Base, opened
from .configuration import Configuration, configuration
from .elf import Library, libraries
from .frozen import Frozen
from .imports import Imports, imports_of, notebook_sources, providers, used
from .index import Indexes
from .installed import Environment, conda_prefix, installed
from .kernel_dockerfile import Recipe
from .lock import Lock, complete, lock
from .needs import closure, conflicts
from .options import LOCKS, FreezeOptions
from .target import TargetPython, target

KERNEL = "ipykernel"
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9.+:~-]+)?")


def freeze(
    options: FreezeOptions | None = None,
    *,
    code: Sequence[str] = (),
    paths: Sequence[str] | None = None,
    **arguments: Any,
) -> Frozen:
    """Return the environment of this process, or of the module directories `paths`, as a Dockerfile.

    Arguments are the fields of FreezeOptions, such as `freeze(name="analysis", notebook=["analysis.ipynb"])`. `code`
    are the cells of a notebook, for `only_imports`. Raises UsageError for invalid options, and SourceError for
    distributions that no index has.
    """
    from .languages import freeze_by_lock

    options = _checked(options, arguments)
    if by_lock := freeze_by_lock(options):
        return by_lock
    goal = target(options.python, options.platform)
    everything = installed(paths)
    environment, notes = _kept(everything, options, code, goal, paths)
    installer = options.installer or _installer(everything)
    notes += [f"The environment is inconsistent: {sentence}" for sentence in conflicts(environment, goal)]
    if installer == "conda":
        if options.lock == pylock.NAME:
            raise UsageError(
                f"{pylock.NAME} cannot lock what conda installs.", hint="Leave out --lock, or use --pip or --uv."
            )
        from .conda import freeze_conda

        return freeze_conda(options, environment, tuple(notes), goal)
    with opened(options.base or f"python:{goal.python}-slim", goal) as base:
        needed = libraries(environment.values(), base.files)
    if base.release:
        goal = msgspec.structs.replace(goal, release=base.release)
        notes += _other_release(base, goal)
    settings = configuration()
    # Each installer has its own indexes: pip installs uv, and uv the rest.
    with closing(Indexes(configuration(uv=True) if installer == "uv" else settings)) as indexes:
        environment = complete(environment, (KERNEL,), goal, indexes)
        locked = lock(environment, goal, indexes)
    _check_apt(base, options, locked)
    named = (*options.apt, *(library.package for library in needed if library.package))
    packages = tuple(dict.fromkeys(named)) if base.has_apt else ()
    notes += [*locked.notes, *_lacking(needed, base), *_doubtful(base, packages)]
    requested = [distribution.name for distribution in environment.values() if distribution.requested]
    recipe = Recipe(
        base=base,
        target=goal,
        lock=locked,
        requested=requested or [KERNEL],
        configuration=_merged(settings) if installer == "uv" else settings,
        installer=installer,
        installers=_installers(installer, options, locked, goal, settings),
        hashes=options.hashes,
        pylock=options.lock == pylock.NAME,
        packages=packages,
        command=_command(environment),
    )
    frozen = Frozen(
        options.name,
        kernel_dockerfile.dockerfile(recipe),
        kernel_dockerfile.files(recipe),
        kernel_dockerfile.flags(options, recipe),
        environment,
        tuple(notes),
    )
    if options.write:
        frozen.write(options.write)
    return frozen


def _checked(options: FreezeOptions | None, arguments: dict[str, Any]) -> FreezeOptions:
    """Return the options, updated from arguments. Raises UsageError for invalid ones."""
    if options is None:
        unknown = next((name for name in arguments if name not in FreezeOptions.__struct_fields__), "")
        if unknown:
            known = ", ".join(FreezeOptions.__struct_fields__)
            raise UsageError(f"freeze() has no argument {unknown!r}.", hint=f"It takes {known}.")
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
        raise UsageError(f"{options.installer!r} is not a supported installer.", hint="Use pip, uv or conda.")
    if options.lock not in LOCKS:
        raise UsageError(f"{options.lock!r} is not a supported lock.", hint=f"Use {' or '.join(LOCKS)}.")
    if options.lock == pylock.NAME and not options.hashes:
        raise UsageError(f"{pylock.NAME} always has digests, so --no-hashes excludes it.")
    for package in options.apt:
        if not _PACKAGE.fullmatch(package):
            raise UsageError(f"--apt {package} is not the name of a Debian package.")
    return options


def _kept(
    everything: Environment,
    options: FreezeOptions,
    code: Sequence[str],
    goal: TargetPython,
    paths: Sequence[str] | None,
) -> tuple[Environment, list[str]]:
    """Return the contents of the image, with notes on how they were determined."""
    if not options.only_imports and not options.notebook:
        return everything, []
    sources = [source for path in options.notebook for source in notebook_sources(user_path(path))]
    if options.only_imports and not options.notebook:
        if not code:
            raise UsageError(
                "--only-imports needs the code of a notebook, but there is none here.",
                hint="Name a notebook: --notebook analysis.ipynb.",
            )
        sources = [(f"cell {number}", text) for number, text in enumerate(code, 1)]
    imports = imports_of(sources)
    use = used(imports, everything, providers(everything, paths))
    names = [*use.distributions, *([KERNEL] if KERNEL in everything else [])]
    # An image of a notebook that imports nothing is one for its kernel.
    wanted = use.distributions or (KERNEL,)
    requested = {
        name: msgspec.structs.replace(distribution, requested=name in wanted)
        for name, distribution in closure(names, everything, goal).items()
    }
    return requested, [*_doubts(imports), *_elsewhere(use.elsewhere)]


def _doubts(imports: Imports) -> list[str]:
    notes = [f"This import is only known when it runs: {place}." for place in imports.unknown]
    return notes + [f"{place} is not valid Python: its imports are unknown." for place in imports.unread]


def _elsewhere(modules: Sequence[str]) -> list[str]:
    if not modules:
        return []
    names = ", ".join(modules)
    return [f"No distribution contains {names}: COPY files that are beside the notebook, and install anything else."]


def _lacking(needed: Sequence[Library], base: Base) -> list[str]:
    """Return a sentence for each library that nothing in the Dockerfile provides."""
    if base.has_apt:
        reason = "its Debian package is unknown: name it with --apt"
    else:
        reason = f"{base.image} has neither the library nor apt: COPY it there, or use another base"
    missing = [library for library in needed if not (library.package and base.has_apt)]
    return [f"{library.needed_by} needs {library.name}, and {reason}." for library in missing]


def _other_release(base: Base, goal: TargetPython) -> list[str]:
    here = platform.python_version()
    if goal.version != sys.version_info[:2] or base.release == here:
        return []
    return [f"This kernel has Python {here}, and the base image {base.image} has {base.release}."]


def _doubtful(base: Base, packages: Sequence[str]) -> list[str]:
    lacking = [base.python] if base.is_doubtful else []
    if packages and base.may_lack_apt:
        lacking.append(f"apt, which must install {', '.join(packages)}")
    return [f"{base.image} is not in the store, and may lack {' and '.join(lacking)}."] if lacking else []


def _check_apt(base: Base, options: FreezeOptions, locked: Lock) -> None:
    """Raise UsageError where apt has to install something and the base has no apt."""
    if base.has_apt:
        return
    hint = "Use a Debian base."
    if options.apt:
        raise UsageError(f"--apt {options.apt[0]}: the base image {base.image} has no apt.", hint=hint)
    built = next((pin.distribution.name for pin in locked.locked if pin.built), "")
    if built:
        raise UsageError(
            f"{built} must be built from source, but the base image {base.image} has no apt to install a compiler.",
            hint=hint,
        )


def _installers(
    installer: str, options: FreezeOptions, locked: Lock, chosen: TargetPython, settings: Configuration
) -> dict[str, str]:
    """Return the requirements of the installers that a base does not bring, by name."""
    requirements = {"uv": "uv"} if installer == "uv" else {}
    # uv builds no wheels without installing them.
    if options.lock == pylock.NAME and (installer == "pip" or locked.fetched(built=True)):
        requirements["pip"] = pylock.INSTALLER
    if not requirements:
        return {}
    with closing(Indexes(settings)) as indexes:
        locks = {
            name: lock(complete({}, (text,), chosen, indexes), chosen, indexes) for name, text in requirements.items()
        }
    return {name: alone.lines(built=False, hashes=options.hashes) for name, alone in locks.items()}


def _installer(environment: Environment) -> str:
    """Return the installer of most of an environment: pip, where nothing is recorded."""
    if conda_prefix() is not None:
        return "conda"
    recorded = [distribution.installer for distribution in environment.values()]
    return "uv" if recorded.count("uv") > len(recorded) / 2 else "pip"


def _merged(pip: Configuration) -> Configuration:
    """Return settings for both installers: pip installs uv, and uv the rest."""
    uv = configuration(uv=True)
    secrets = {secret.id: secret for secret in (*pip.secrets, *uv.secrets)}
    return msgspec.structs.replace(pip, variables={**pip.variables, **uv.variables}, secrets=tuple(secrets.values()))


def _command(environment: Environment) -> tuple[str, ...]:
    if "jupyterlab" in environment:
        return ("jupyter", "lab", "--ip=0.0.0.0", "--no-browser")
    return ("python3",)
