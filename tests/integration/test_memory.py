"""How much memory a build takes: none for the size of files, little for their number."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from .lab import Home

pytestmark = pytest.mark.xdist_group("heavy")

MB = 1 << 10
"""In the kilobytes of /proc."""


def peak(home: Home, context: Path, **options: Any) -> int:
    answer = home.elsewhere("FROM scratch\nCOPY . /\n", str(context), **options)
    assert "peak_kb" in answer, answer
    return answer["peak_kb"]


def test_a_file_of_half_a_gigabyte_takes_no_more_than_a_small_one(home: Home, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    forms = ("type=oci,compression=gzip", "type=oci,compression=zstd", "type=tar")
    outputs = [f"{form},dest={tmp_path}/{number}.tar" for number, form in enumerate(forms)]
    (context / "big").write_bytes(b"small")
    small = peak(home, context, outputs=outputs)
    os.truncate(context / "big", 1 << 29)
    big = peak(home, context, outputs=outputs)
    assert big < 150 * MB, f"{big / MB:.0f} MB"
    assert big - small < 48 * MB, f"{small / MB:.0f} MB, then {big / MB:.0f} MB"


def test_fifty_thousand_files_take_less_than_a_kilobyte_each(home: Home, tmp_path: Path) -> None:
    count = 50_000
    context = tmp_path / "context"
    context.mkdir()
    (context / "one").write_text("x")
    small = peak(home, context, outputs=[f"type=tar,dest={tmp_path}/out.tar"])
    for folder in range(100):
        directory = context / f"directory-{folder:03}"
        directory.mkdir()
        fd = os.open(directory, os.O_RDONLY)
        for number in range(count // 100):
            file = os.open(f"file-{number:04}", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd)
            os.write(file, b"%d" % number)
            os.close(file)
        os.close(fd)
    large = peak(home, context, outputs=[f"type=tar,dest={tmp_path}/out.tar"])
    assert (large - small) / count < 1.0, f"{(large - small) / count * 1024:.0f} bytes a file"
    again = peak(home, context, outputs=[f"type=oci,dest={tmp_path}/out.tar"])
    assert (again - small) / count < 1.0, f"cached: {(again - small) / count * 1024:.0f} bytes a file"


def test_a_kernel_that_builds_all_day_takes_no_more_than_one_that_has_built_a_little(
    home: Home, tmp_path: Path
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    for number in range(10_000):
        (context / f"file-{number:04}").touch()
    answer = home.elsewhere(
        "FROM busybox\nCOPY . /src\nRUN true\n", str(context), before=24, changing=str(context / "changing")
    )
    first, later = answer["earlier_kb"][11], answer["peak_kb"]
    assert later - first < 10 * MB, f"{first / MB:.0f} MB, then {later / MB:.0f} MB"
