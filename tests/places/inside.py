"""What runs in a place: does one task with the installed product, and prints what came of it as a line of JSON.

It is given to `python3 -c` with the task on its standard input, so that nothing has to be written there first.
"""

import json
import os
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import pybuild_magic
from pybuild_magic.errors import BuildError, Interrupted

MARK = "sleep\x004242"


def main() -> None:
    task = json.load(sys.stdin)
    started = time.monotonic()
    answer = {"cancel": cancel, "left": left, "doctor": doctor}.get(task["kind"], build)(task)
    answer.setdefault("seconds", time.monotonic() - started)
    print(json.dumps(answer))


def build(task: dict) -> dict:
    with tempfile.TemporaryDirectory() as scratch:
        dest = Path(scratch, "made.tar")
        outputs = [] if task["kind"] in ("fail", "told") else [f"type=tar,dest={dest}"]
        secrets = []
        for name, value in task["secrets"].items():
            Path(scratch, name).write_text(value)
            secrets.append(f"id={name},src={scratch}/{name}")
        try:
            pybuild_magic.build(task["dockerfile"], task["files"], outputs=outputs, secrets=secrets, progress="none")
        except BuildError as error:
            return failed(error)
        return {"made": {} if not outputs else members(dest)}


def failed(error: BuildError) -> dict:
    from pybuild_magic.display.advice import advice

    blobs = Path(os.environ["PYBUILD_HOME"], "blobs")
    return {
        "error": error.message,
        "kind": error.kind,
        "hint": advice(error, error.logs),
        "code": getattr(error, "exit_code", None),
        "logs": list(error.logs),
        "pulled": [path.name for path in blobs.rglob("*/*") if path.stat().st_size > 1_000_000],
    }


def members(archive: Path) -> dict:
    found = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            content = None
            if member.issym():
                content = f"-> {member.linkname}"
            elif member.isfile() and member.size < 10_000:
                content = tar.extractfile(member).read().decode(errors="replace")
            found[member.name.rstrip("/")] = [f"{member.uid}:{member.gid} {member.mode & 0o7777:o}", content]
    return found


def cancel(task: dict) -> dict:
    """Cancel once the process runs, and look for it."""
    handle = pybuild_magic.build(task["dockerfile"], task["files"], progress="none", background=True)
    until = time.monotonic() + 60
    while not processes(MARK) and not handle.done and time.monotonic() < until:
        time.sleep(0.02)
    seen = bool(processes(MARK))
    started = time.monotonic()
    handle.cancel()
    try:
        handle.wait(30)
    except Interrupted:
        took = time.monotonic() - started
    except BuildError as error:
        return failed(error)
    except TimeoutError:
        return {"error": "the build did not end within 30 s", "kind": "", "hint": "", "code": None, "logs": []}
    return {"made": {}, "seconds": took, "seen": seen, "left": processes(MARK)}


def doctor(task: dict) -> dict:
    started = time.monotonic()
    report = pybuild_magic.doctor()
    took = time.monotonic() - started
    page = report._repr_html_()
    try:
        pybuild_magic.build(task["dockerfile"], {}, progress="none")
        works = True
    except BuildError:
        works = False
    return {
        "seconds": took,
        "works": works,
        "said": report.facts.sandbox.works,
        "lines": {remedy.title: remedy.lines for remedy in report.remedies},
        "text": repr(report),
        "page": page,
    }


def processes(mark: str = "") -> list:
    """The command lines that have `mark` in them, in which words end with NUL."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text()
        except OSError:
            continue
        if words and mark in words and int(process.name) not in (1, os.getpid()):
            found.append(words.replace("\0", " ").strip())
    return found


def left(task: dict) -> dict:
    """Processes, mounts and directories that are still there, and what is wrong with the store."""
    from pybuild_magic.store import Store

    root = Path(os.environ["PYBUILD_HOME"])
    until = time.monotonic() + 5  # the helper of the task before may just be ending
    while (still := [words for words in processes() if "sleep infinity" not in words]) and time.monotonic() < until:
        time.sleep(0.05)
    found = [f"process {words}" for words in still]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [f"mount {line}" for line in mounts if line.split()[4].startswith(f"{root}/")]
    found += [f"file {path}" for path in Path(tempfile.gettempdir()).iterdir()]
    if not (root / "blobs").exists():
        return {"made": {}, "left": found}
    with Store(root) as store:
        found += [f"fsck {problem}" for problem in store.fsck()]
        store.gc()
        for name in ("ingest", "trash", "leases"):
            found += [f"file {path}" for path in (root / name).iterdir()]
        found += [f"fsck after gc {problem}" for problem in store.fsck()]
    return {"made": {}, "left": found}


if __name__ == "__main__":
    main()
