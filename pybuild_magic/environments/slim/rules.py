"""The kinds of files that an image does not need, and how a Dockerfile leaves them out."""

from __future__ import annotations

import re

import msgspec

_SITE = r"(?:^|/)(?:site|dist)-packages/"


class Rule(msgspec.Struct, frozen=True):
    """A kind of files, recognised by path, and how a Dockerfile leaves them out."""

    key: str
    what: str
    directories: str
    """Parts of a directory's path (which ends with a slash) that identify it; the match ends what can be removed."""
    remove: str = ""
    """The command that removes the files in the step that makes them. `{places}` stands for the directories that match,
    `{root}` for a directory that has all of them. "" if the step has to be another one."""
    mount: str = ""
    """The cache mount that keeps them for the next build instead; `{place}` is one of the directories."""
    ignore: str = ""
    """The patterns for `.dockerignore`; "" for the ends of the directories that match."""
    likely: str = ""
    """A reason for keeping them; "" when there is none."""
    endings: tuple[str, ...] = ()
    """Suffixes of file names, in any directory."""


RULES: tuple[Rule, ...] = (
    Rule("apt-lists", "lists of apt-get", r"^var/lib/apt/lists/", "rm -rf {places}/*"),
    Rule(
        "apt-cache",
        "cache of apt-get",
        r"^var/cache/apt/",
        "rm -rf {places}/*",
        mount="type=cache,target={place},sharing=locked",
    ),
    Rule(
        "debconf",
        "backups of debconf",
        r"(?!)",
        "rm -f {root}/*-old",
        endings=(".dat-old",),
        ignore="**/*.dat-old",
    ),
    Rule("logs", "logs of installations", r"^var/log/", "find /var/log -type f -exec rm -f {} +"),
    Rule(
        "pip-cache",
        "cache of pip",
        r"^(?:root|home/[^/]+)/\.cache/pip/",
        "rm -rf {places}",
        mount="type=cache,target={place}",
    ),
    Rule(
        "uv-cache",
        "cache of uv",
        r"^(?:root|home/[^/]+)/\.cache/uv/",
        "rm -rf {places}",
        mount="type=cache,target={place}",
    ),
    Rule(
        "conda-cache",
        "packages of conda that are installed already",
        r"^(?:opt|srv|root|home/[^/]+)/(?:conda|miniconda3?|mambaforge|miniforge3?|\.conda|micromamba)/pkgs/",
        "rm -rf {places}",
    ),
    Rule(
        "npm-cache",
        "cache of npm and yarn",
        r"^(?:root|home/[^/]+)/(?:\.npm/|\.cache/(?:yarn|node|npm|pnpm)/|\.yarn/cache/)",
        "rm -rf {places}",
        mount="type=cache,target={place}",
    ),
    Rule(
        "other-cache",
        "other caches",
        r"^(?:root|home/[^/]+)/\.cache/(?!(?:huggingface|torch|whisper)/)[^/]+/"
        r"|^var/cache/(?!(?:fontconfig|ldconfig|debconf)/)[^/]+/",
        "rm -rf {places}/*",
        likely="a program may start more slowly the first time",
    ),
    Rule("temporary", "temporary files", r"^(?:tmp|var/tmp)/", "rm -rf {places}/*"),
    Rule(
        "git",
        "history of Git",
        r"(?:^|/)\.git/(?=(?:objects|logs|lfs|modules)/)",
        "rm -rf {places}",
        ignore="**/.git",
        likely="a build may check its version",
    ),
    Rule(
        "checkpoints",
        "checkpoints of notebooks",
        r"(?:^|/)\.ipynb_checkpoints/",
        "find {root} -xdev -name .ipynb_checkpoints -prune -exec rm -rf {} +",
        ignore="**/.ipynb_checkpoints",
    ),
    Rule(
        "cuda",
        "CUDA",
        _SITE + r"(?:nvidia/|triton/backends/nvidia/|cupy_backends/|tensorrt_libs/)|^usr/local/cuda[^/]*/",
        "rm -rf {places}",
        ignore="**/*-packages/nvidia",
        likely="it is useful where there is a GPU",
    ),
    Rule(
        "bytecode",
        "bytecode of Python",
        r"(?:^|/)__pycache__/",
        "find {root} -xdev -name __pycache__ -prune -exec rm -rf {} +",
        ignore="**/__pycache__",
        likely="it is made again whenever a program starts, which then takes longer",
    ),
    Rule(
        "tests",
        "tests of packages",
        _SITE + r"(?:[^/]+/)+?tests?/|(?:^|/)lib/python3\.\d+/(?:test|idlelib/idle_test|lib2to3/tests|unittest/test)/",
        "find {root} -xdev -type d '(' -name test -o -name tests -o -name idle_test ')' -prune -exec rm -rf {} +",
        ignore="**/*-packages/**/test, **/*-packages/**/tests",
        likely="a few packages import theirs",
    ),
    Rule(
        "debug",
        "debug symbols",
        r"^usr/lib/debug/|\.dSYM/",
        "find {root} -xdev '(' -path /usr/lib/debug -o -name '*.dSYM' -o -name '*.debug' -o -name '*.dwo' ')' "
        "-prune -exec rm -rf {} +",
        ignore="**/*.debug, **/*.dwo",
        endings=(".debug", ".dwo"),
        likely="a debugger uses them",
    ),
    Rule(
        "static",
        "static libraries",
        r"(?!)",
        "find {root} -xdev '(' -name '*.a' -o -name '*.la' ')' -exec rm -f {} +",
        ignore="**/*.a, **/*.la",
        endings=(".a", ".la"),
        likely="a compiler may link them",
    ),
    Rule(
        "compilers",
        "compilers and headers",
        r"^usr/(?:lib|libexec)/gcc/|^usr/include/|^usr/lib/llvm-\d+/|^usr/lib/go-[^/]+/|^usr/local/go/"
        r"|^root/\.(?:cargo|rustup)/",
        likely="later compilations need them",
    ),
    Rule(
        "documentation",
        "documentation",
        r"^usr/share/(?:doc|man|info|gtk-doc|help)/|^(?:opt|srv|usr/local)/(?:[^/]+/)*?share/(?:doc|man|info)/",
        "rm -rf {places}",
        likely="it includes licences",
    ),
    Rule(
        "translations",
        "translations",
        r"^usr/share/(?:locale|i18n/locales)/|(?:^|/)LC_MESSAGES/",
        "find {root} -xdev '(' -path '*/share/locale' -o -path '*/i18n/locales' -o -name LC_MESSAGES ')' "
        "-prune -exec rm -rf {} +",
        likely="programs are then in English",
    ),
    Rule(
        "source-maps",
        "source maps of web pages",
        r"(?!)",
        "find {root} -xdev '(' -name '*.js.map' -o -name '*.css.map' ')' -exec rm -f {} +",
        ignore="**/*.map",
        endings=(".js.map", ".css.map"),
        likely="a browser's debugger uses them",
    ),
)

_DIRECTORIES = re.compile("|".join(f"(?P<r{number}>{rule.directories})" for number, rule in enumerate(RULES)))
_ENDINGS = {ending: rule for rule in RULES for ending in rule.endings}
_ALL_ENDINGS = tuple(_ENDINGS)
BLAS = re.compile(
    r"(?:^|/)lib(?:scipy_)?(openblas|mkl_core|mkl_rt|blis|atlas|blas|cblas|nvblas|accelerate)[^/]*\.so[^/]*$"
)
DEBIAN_BLAS = re.compile(r"usr/lib/[^/]+/(openblas-\w+)/")
"""Where Debian has its libraries: its packages are called `libopenblas0-pthread` and the like."""
_CUDA = next(rule for rule in RULES if rule.key == "cuda")
_CUDA_LIBRARY = re.compile(r"lib(?:torch_cuda|c10_cuda|cu(?:dnn|blas|fft|rand|solver|sparse)|nccl|nvrtc)[^/]*\.so")
_CUDA_USERS = (
    "torch",
    "tensorflow",
    "jaxlib",
    "cupy",
    "cudf",
    "numba_cuda",
    "xgboost",
    "lightgbm",
    "onnxruntime",
    "paddle",
)


def rule_of_directory(path: str) -> tuple[Rule | None, str]:
    """Return the first rule that matches the files of a directory, and the directory that can be removed."""
    match = _DIRECTORIES.search(f"{path}/")
    if match is None:
        return None, ""
    return RULES[int((match.lastgroup or "r0")[1:])], f"/{path[: match.end()]}".rstrip("/")


def rule_of_name(name: str) -> Rule | None:
    """Return the rule that matches a file by its name."""
    if not name.endswith(_ALL_ENDINGS):
        return _CUDA if ".so" in name and _CUDA_LIBRARY.match(name) else None
    return next(rule for ending, rule in _ENDINGS.items() if name.endswith(ending))


def cuda_users(paths: frozenset[str]) -> list[str]:
    """Return the packages in `site-packages` that use CUDA."""
    return [name for name in _CUDA_USERS if name in paths]
