"""One store with `busybox` for the tests of this directory, and one build that all of them look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import pybuild_magic
from pybuild_magic import builders
from pybuild_magic.images.load import load_image
from pybuild_magic.result import BuildResult
from pybuild_magic.store import Store
from tests.services.baseimages import BaseImage

DOCKERFILE = """FROM busybox AS build
WORKDIR /src
COPY . .
RUN cat a.txt && seq 30 > /numbers && mkdir -p /junk && echo waste > /junk/file
RUN echo changed > /src/a.txt && rm -r /junk

FROM build AS last
ENV GREETING="hi there"
COPY --link table.csv picture.png /data/
CMD ["cat", "/src/a.txt"]
"""
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
FILES = {"a.txt": "first\n", "sub/b.bin": bytes(range(256)), "table.csv": "x,y\n1,2\n", "picture.png": PNG}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, busybox_layout: BaseImage) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYBUILD_HOME", str(root / "store"))
        patch.setattr(builders, "_embedded", None)
        with Store(root / "store") as store:
            load_image(store, busybox_layout.path, "busybox")
        yield root
        builders.embedded_builder().close()
    assert "PYBUILD_HOME" not in os.environ or os.environ["PYBUILD_HOME"] != str(root / "store")


@pytest.fixture(scope="module")
def built(home: Path) -> BuildResult:
    out = home / "out"
    outputs = [
        "type=image",
        f"type=oci,dest={out}/image.tar",
        f"type=local,dest={out}/files",
        f"type=tar,dest={out}/t.tar",
    ]
    return pybuild_magic.build(DOCKERFILE, FILES, tags="looked-at", outputs=outputs, progress="none")
