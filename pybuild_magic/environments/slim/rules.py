"""The kinds of files that an image does not need, and the Dockerfile lines that leave them out."""

from __future__ import annotations

import re

import msgspec

_SITE = r"(?:^|/)(?:site|dist)-packages/"


class Rule(msgspec.Struct, frozen=True):
    """A kind of files, recognised by path; `{command}` in its line stands for the step's command."""

    key: str
    what: str
    directories: str
    """Parts of a directory's path (which ends with a slash) that identify it."""
    line: str
    """The line for the Dockerfile; "" when only removal in the same step helps: see `remove`."""
    remove: str = ""
    """What `rm -rf` takes in the step that makes the files, or a command that removes them; "" for packages."""
    ignore: str = ""
    """The pattern for `.dockerignore` that leaves them out of a context."""
    likely: str = ""
    """A reason for keeping them; "" when there is none."""
    endings: tuple[str, ...] = ()
    """Suffixes of file names, in any directory."""


RULES: tuple[Rule, ...] = (
    Rule(
        "apt-lists",
        "lists of apt-get",
        r"^var/lib/apt/lists/",
        "",
        "/var/lib/apt/lists/*",
        ignore="**/var/lib/apt/lists/*",
    ),
    Rule(
        "apt-cache",
        "cache of apt-get",
        r"^var/cache/(?:apt|debconf)/|^var/log/apt/",
        "RUN --mount=type=cache,target=/var/cache/apt,sharing=locked {command}",
        "/var/cache/apt/* /var/cache/debconf/*-old",
        ignore="**/var/cache/apt",
    ),
    Rule(
        "pip-cache",
        "cache of pip",
        r"^(?:root|home/[^/]+)/\.cache/pip/",
        "RUN --mount=type=cache,target=/root/.cache/pip {command}",
        "/root/.cache/pip",
        ignore="**/.cache/pip",
    ),
    Rule(
        "uv-cache",
        "cache of uv",
        r"^(?:root|home/[^/]+)/\.cache/uv/",
        "RUN --mount=type=cache,target=/root/.cache/uv {command}",
        "/root/.cache/uv",
        ignore="**/.cache/uv",
    ),
    Rule(
        "conda-cache",
        "packages of conda that are installed already",
        r"^(?:opt|srv|root|home/[^/]+)/(?:conda|miniconda3?|mambaforge|miniforge3?|\.conda|micromamba)/pkgs/",
        "",
        "/opt/conda/pkgs",
        ignore="**/conda/pkgs",
    ),
    Rule(
        "npm-cache",
        "cache of npm and yarn",
        r"^(?:root|home/[^/]+)/(?:\.npm/|\.cache/(?:yarn|node|npm|pnpm)/|\.yarn/cache/)",
        "RUN --mount=type=cache,target=/root/.npm {command}",
        "/root/.npm",
        ignore="**/.npm",
    ),
    Rule(
        "other-cache",
        "other caches",
        r"^(?:root|home/[^/]+)/\.cache/(?!(?:huggingface|torch|whisper)/)|^var/cache/(?!fontconfig/|ldconfig/)",
        "",
        "/root/.cache",
        ignore="**/.cache",
        likely="a program may start more slowly the first time",
    ),
    Rule("temporary", "temporary files", r"^(?:tmp|var/tmp)/", "", "/tmp/* /var/tmp/*", ignore="**/tmp/*"),
    Rule(
        "git",
        "history of Git",
        r"(?:^|/)\.git/(?:objects|logs|lfs|modules)/",
        "",
        ".git",
        ignore="**/.git",
        likely="a build may check its version",
    ),
    Rule(
        "checkpoints",
        "checkpoints of notebooks",
        r"(?:^|/)\.ipynb_checkpoints/",
        "",
        "find / -xdev -name .ipynb_checkpoints -prune -exec rm -rf {} +",
        ignore="**/.ipynb_checkpoints",
    ),
    Rule(
        "cuda",
        "CUDA",
        _SITE + r"(?:nvidia/|triton/backends/nvidia/|torch/lib/lib(?:torch_cuda|c10_cuda|cudnn|cublas|nccl|nvrtc)"
        r"|cupy_backends/|tensorrt_libs/)|^usr/local/cuda",
        "",
        ignore="**/*-packages/nvidia",
        likely="it is useful where there is a GPU",
    ),
    Rule(
        "bytecode",
        "bytecode of Python",
        r"(?:^|/)__pycache__/",
        "ENV PYTHONDONTWRITEBYTECODE=1",
        "find / -xdev -name __pycache__ -prune -exec rm -rf {} +",
        "**/__pycache__",
        "it is made again whenever a program starts, which then takes longer",
    ),
    Rule(
        "tests",
        "tests of packages",
        _SITE + r"(?:[^/]+/)+tests?/|^(?:usr|opt|srv)/(?:[^/]+/)*lib/python3\.\d+/(?:test|idlelib/idle_test)/"
        r"|(?:^|/)lib/python3\.\d+/(?:test|lib2to3/tests|unittest/test)/",
        "",
        "find / -xdev -path '*-packages/*' -type d -name tests -prune -exec rm -rf {} +",
        ignore="**/*-packages/**/tests",
        likely="a few packages import theirs",
    ),
    Rule(
        "debug",
        "debug symbols",
        r"^usr/lib/debug/|\.dSYM/",
        "",
        "/usr/lib/debug",
        endings=(".debug", ".dwo"),
        ignore="**/*.debug",
        likely="a debugger uses them",
    ),
    Rule(
        "static",
        "static libraries",
        r"(?!)",
        "",
        endings=(".a", ".la"),
        remove="find /usr /opt /srv -xdev -name '*.a' -delete",
        ignore="**/*.a",
        likely="a compiler may link them",
    ),
    Rule(
        "compilers",
        "compilers and headers",
        r"^usr/(?:lib|libexec)/gcc/|^usr/include/|^usr/lib/llvm-\d+/|^usr/lib/go-|^usr/local/go/|^root/\.(?:cargo|rustup)/",
        "COPY --from=build /srv/env /srv/env",
        ignore="**/usr/include",
        likely="later compilations need them: compile in a separate stage",
    ),
    Rule(
        "documentation",
        "documentation",
        r"^usr/share/(?:doc|man|info|gtk-doc|help)/|^(?:opt|srv|usr/local)/(?:[^/]+/)*share/(?:doc|man|info)/",
        "RUN echo 'path-exclude=/usr/share/doc/*' > /etc/dpkg/dpkg.cfg.d/slim",
        "/usr/share/doc /usr/share/man /usr/share/info",
        ignore="**/share/doc",
        likely="it includes licences",
    ),
    Rule(
        "translations",
        "translations",
        r"^usr/share/(?:locale|i18n/locales)/|(?:^|/)LC_MESSAGES/",
        "RUN echo 'path-exclude=/usr/share/locale/*' > /etc/dpkg/dpkg.cfg.d/slim",
        "/usr/share/locale",
        ignore="**/share/locale",
        likely="programs are then in English",
    ),
    Rule(
        "source-maps",
        "source maps of web pages",
        r"(?!)",
        "",
        "find / -xdev -name '*.js.map' -delete",
        endings=(".js.map", ".css.map"),
        ignore="**/*.js.map",
        likely="a browser's debugger uses them",
    ),
)

_DIRECTORIES = re.compile("|".join(f"(?P<r{number}>{rule.directories})" for number, rule in enumerate(RULES)))
_ENDINGS = {ending: rule for rule in RULES for ending in rule.endings}
_ALL_ENDINGS = tuple(_ENDINGS)
BLAS = re.compile(
    r"(?:^|/)lib(?:scipy_)?(openblas|mkl_core|mkl_rt|blis|atlas|blas|cblas|nvblas|accelerate)[^/]*\.so[^/]*$"
)
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


def rule_of_directory(path: str) -> Rule | None:
    """Return the first rule that matches the files of a directory."""
    match = _DIRECTORIES.search(f"{path}/")
    return RULES[int((match.lastgroup or "r0")[1:])] if match else None


def rule_of_name(name: str) -> Rule | None:
    """Return the rule that matches a file by its name."""
    if not name.endswith(_ALL_ENDINGS):
        return None
    return next(rule for ending, rule in _ENDINGS.items() if name.endswith(ending))


def cuda_users(paths: frozenset[str]) -> list[str]:
    """Return the packages in `site-packages` that use CUDA."""
    return [name for name in _CUDA_USERS if name in paths]
