"""Small repositories in the shapes of those that repo2docker tests itself with, and what has to hold in each image.

They need PyPI and Debian alone. Their packages are tiny ones of pure Python.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

INICONFIG = "b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374"
"""The SHA-256 of iniconfig-2.0.0-py3-none-any.whl."""
_SETUP = """\
from setuptools import setup
setup(name="dummy", version="1.0", packages=["dummy"], install_requires=["iniconfig==2.0.0"])
"""
_PIPFILE_LOCK = json.dumps(
    {
        "_meta": {"hash": {"sha256": ""}, "pipfile-spec": 6, "requires": {}, "sources": []},
        "default": {"iniconfig": {"version": "==2.0.0", "hashes": [f"sha256:{INICONFIG}"]}},
        "develop": {"toml": {"version": "==0.10.2"}},
    }
)
_UV_LOCK = f"""\
version = 1
requires-python = ">=3.10"

[[package]]
name = "iniconfig"
version = "2.0.0"
source = {{ registry = "https://pypi.example/simple" }}
wheels = [
    {{ url = "https://pypi.example/iniconfig-2.0.0-py3-none-any.whl", hash = "sha256:{INICONFIG}", size = 5892 }},
]

[[package]]
name = "small"
version = "1.0"
source = {{ editable = "." }}
dependencies = [{{ name = "iniconfig" }}]

[package.metadata]
requires-dist = [{{ name = "iniconfig", specifier = "==2.0.0" }}]
"""
_RELEVANT = {
    "project": {"requires-python": ">=3.10", "dependencies": ["iniconfig==2.0.0"]},
    "tool": {"poetry": {}},
}
_CONTENT_HASH = hashlib.sha256(json.dumps(_RELEVANT, sort_keys=True).encode()).hexdigest()
"""What Poetry compares, to see that the lock is that of `_PROJECT`."""
_POETRY_LOCK = f"""\
[[package]]
name = "iniconfig"
version = "2.0.0"
description = ""
optional = false
python-versions = ">=3.7"
groups = ["main"]
files = [{{file = "iniconfig-2.0.0-py3-none-any.whl", hash = "sha256:{INICONFIG}"}}]

[metadata]
lock-version = "2.1"
python-versions = ">=3.10"
content-hash = "{_CONTENT_HASH}"
"""
_PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "small"
version = "1.0"
dependencies = ["iniconfig==2.0.0"]
requires-python = ">=3.10"
"""
_START = '#!/bin/bash\nexport FROM_START="it was run"\nexec "$@"\n'


@dataclass(frozen=True)
class Case:
    """A repository, and a script for bash that fails in its image if something is not as it has to be."""

    name: str
    files: dict[str, str]
    verify: str
    used: tuple[str, ...] = ()
    """The files that are told as used."""
    programs: frozenset[str] = field(default_factory=frozenset)
    """Files that may be executed; git keeps that, and not everybody sets it."""

    def filled(self, index: str = "", url: str = "https://pypi.example/iniconfig-2.0.0-py3-none-any.whl") -> Case:
        """The case with an index, and the place of iniconfig's wheel, in the files that have to name them."""
        source = f'[[source]]\nname = "pypi"\nverify_ssl = true\nurl = "{index}"\n\n' if index else ""
        pylock = (
            'lock-version = "1.0"\ncreated-by = "a person"\n\n[[packages]]\nname = "iniconfig"\nversion = "2.0.0"\n'
            f'wheels = [{{ url = "{url}", hashes = {{ sha256 = "{INICONFIG}" }} }}]\n'
        )
        files = {
            path: text.replace("@SOURCE@", source).replace("@PYLOCK@", pylock) for path, text in self.files.items()
        }
        return replace(self, files=files)

    def write(self, root: Path) -> Path:
        """Write it below `root`."""
        for path, text in self.files.items():
            file = root / self.name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755 if path in self.programs else 0o644)
        (root / self.name).mkdir(exist_ok=True)
        return root / self.name


CASES = (
    Case(
        "default",
        {"README.md": "Nothing is said.\n"},
        "jupyter lab --version; test $(id -u) = 1000; test $(id -un) = jovyan; test -w . ; test -w /srv/env; "
        'test "$PWD" = "$REPO_DIR"; [[ ":$PATH:" == *":$HOME/.local/bin:"* ]]; test -O README.md',
    ),
    Case(
        "apt-packages",
        {"apt.txt": "# a comment\n\nbyacc  # and one here\n\n# more\nfile\n"},
        "which byacc; which file",
        ("apt.txt",),
    ),
    Case(
        "binder-dir",
        {
            ".dockerignore": "binder/\n",
            "apt.txt": "this-does-not-exist\n",
            "environment.yml": "dependencies:\n  - this-does-not-exist\n  invalid\n",
            "postBuild": "#!/bin/bash\nexit 1\n",
            "binder/apt.txt": "byacc\n",
            "binder/requirements.txt": "iniconfig\n",
            "binder/postBuild": "#!/bin/bash\necho Done > $HOME/postbuild.txt\n",
            "binder/start": _START,
            "start": "#!/bin/bash\nexit 1\n",
        },
        "test -n \"$FROM_START\"; which byacc; python -c 'import iniconfig'; grep Done $HOME/postbuild.txt; "
        "test -e binder/apt.txt",
        ("binder/requirements.txt", "binder/apt.txt", "binder/postBuild", "binder/start"),
        frozenset({"postBuild", "binder/postBuild"}),
    ),
    Case(
        "requirements",
        {"requirements.txt": "-r more/others.txt\niniconfig==2.0.0\n", "more/others.txt": "toml\n"},
        "python -c 'import iniconfig, toml'",
        ("requirements.txt",),
    ),
    Case(
        "local-requirement",
        {"requirements.txt": "-e .\ntoml\n", "setup.py": _SETUP, "dummy/__init__.py": ""},
        "python -c 'import dummy, iniconfig, toml; assert dummy.__file__.startswith(\"/home/jovyan/dummy/\")'",
        ("requirements.txt", "setup.py"),
    ),
    Case(
        "start-and-post-build",
        {
            "runtime.txt": "python-3",
            "start": _START,
            "postBuild": "#!/bin/bash\nset -e\nexport FROM_START=lost\npip install --no-cache-dir iniconfig\n",
        },
        'test "$FROM_START" = "it was run"; python -c "import iniconfig, sys; assert sys.version_info[0] == 3"',
        ("runtime.txt", "postBuild", "start"),
    ),
    Case(
        "pipfile-lock",
        {"Pipfile": '[packages]\nisodate = "*"\n', "Pipfile.lock": _PIPFILE_LOCK},
        "python -c 'import iniconfig, toml'; ! python -c 'import isodate'",
        ("Pipfile.lock", "Pipfile"),
    ),
    Case(
        "pipfile-lock-in-binder",
        {
            "Pipfile": '[packages]\nthis-does-not-exist = "*"\n',
            "binder/Pipfile.lock": _PIPFILE_LOCK,
            "requirements.txt": "this-does-not-exist\n",
        },
        "python -c 'import iniconfig, toml'",
        ("binder/Pipfile.lock",),
    ),
    Case(
        "pipfile",
        {
            "Pipfile": '@SOURCE@[packages]\niniconfig = "==2.0.0"\n\n[dev-packages]\ntoml = "*"\n',
            "requirements.txt": "this-does-not-exist\n",
            "setup.py": _SETUP,
            "dummy/__init__.py": "",
        },
        "python -c 'import iniconfig, toml'; cd /; ! python -c 'import dummy'",
        ("Pipfile",),
    ),
    Case(
        "pipfile-of-a-directory",
        {
            ".binder/Pipfile": '@SOURCE@[packages]\ntoml = "*"\ndummy = {path = "..", editable = true}\n',
            "setup.py": _SETUP,
            "dummy/__init__.py": "",
        },
        "cd /; python -c 'import dummy, iniconfig, toml'",
        (".binder/Pipfile",),
    ),
    Case(
        "pyproject",
        {"pyproject.toml": _PROJECT, "small/__init__.py": ""},
        "cd /; python -c 'import small, iniconfig'",
        ("pyproject.toml",),
    ),
    Case(
        "setup-py",
        {"setup.py": _SETUP, "dummy/__init__.py": ""},
        "cd /; python -c 'import dummy, iniconfig'",
        ("setup.py",),
    ),
    Case(
        "uv-lock",
        {"pyproject.toml": _PROJECT, "uv.lock": _UV_LOCK, "small/__init__.py": "", "requirements.txt": "toml"},
        "cd /; python -c 'import small, iniconfig'; ! python -c 'import toml'",
        ("uv.lock", "pyproject.toml"),
    ),
    Case(
        "poetry-lock",
        {"pyproject.toml": _PROJECT, "poetry.lock": _POETRY_LOCK, "small/__init__.py": ""},
        "cd /; python -c 'import small, iniconfig'",
        ("poetry.lock", "pyproject.toml"),
    ),
    Case(
        "pylock",
        {"pylock.toml": "@PYLOCK@"},
        "python -c 'import iniconfig'",
        ("pylock.toml",),
    ),
    Case(
        "dockerfile",
        {
            "Dockerfile": "FROM this-does-not-exist\n",
            "binder/Dockerfile": "FROM debian-python\nCOPY --chmod=755 say.sh /usr/local/bin/say\n",
            "say.sh": "#!/bin/sh\necho hi\n",
            "requirements.txt": "this-does-not-exist\n",
        },
        "test $(say) = hi",
        ("binder/Dockerfile",),
    ),
)
