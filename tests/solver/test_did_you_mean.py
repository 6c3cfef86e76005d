"""Names that were misspelt: the one that was meant is told first, BuildKit's words after it, and no name twice."""

from __future__ import annotations

import pytest

import pybuild_magic
from pybuild_magic import BuildError

CONTEXT = {"src/main.py": "print()", "data/big.csv": "1", ".dockerignore": "data\n"}
STAGE = "FROM scratch AS builder\nCOPY src /\nFROM scratch\n"


@pytest.mark.parametrize(
    ("dockerfile", "first"),
    [
        ("FROM scratch\nCOPY scr/main.py /", "There is no such file in the context (did you mean src/main.py?): "),
        ("FROM scratch\nCOPY src/mian.py /", "There is no such file in the context (did you mean src/main.py?): "),
        ("FROM scratch\nCOPY main.py /", "There is no such file in the context (did you mean src/main.py?): "),
        ("FROM scratch\nADD zzz /", "There is no such file in the context: "),
        ("FROM scratch\nCOPY data/big.csv /", ".dockerignore excludes this file from the context: "),
        (
            STAGE + "COPY --from=builder /mian.py /",
            "There is no such file in that image or stage (did you mean main.py?): ",
        ),
        (STAGE + "COPY --from=biulder /main.py /", "The Dockerfile has no such stage (did you mean builder?), "),
        (STAGE + "FROM biulder\nRUN true", "The Dockerfile has no such stage (did you mean builder?), "),
    ],
)
def test_what_was_meant_is_told_first(
    dockerfile: str, first: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path))
    monkeypatch.setenv("PYBUILD_REGISTRY_MIRRORS", "docker.io=http://127.0.0.1:9")
    with pytest.raises(BuildError) as caught:
        pybuild_magic.build(dockerfile, CONTEXT, outputs="type=cacheonly", progress="none")
    error = caught.value
    assert error.message.startswith(first)
    assert error.hint == "", "nothing is left to say after it"
    assert error.message.count("biulder:") <= 1
