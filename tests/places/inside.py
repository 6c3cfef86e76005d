"""What runs in a place: does one task with the installed product, and prints what came of it as a line of JSON.

It is given to `python3 -c` with the task on its standard input, so that nothing has to be written there first.
"""

import contextlib
import io
import json
import os
import re
import shlex
import signal
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import pybuild_magic
from pybuild_magic.errors import BuildError, Interrupted
from pybuild_magic.store.collect import collect_garbage
from pybuild_magic.store.fsck import fsck

MARK = "sleep\x004242"


def main() -> None:
    task = json.load(sys.stdin)
    started = time.monotonic()
    kinds = {"cancel": cancel, "left": left, "run": run, "background": background, "advice": advise, "doctor": doctor}
    kinds |= {"shared": shared, "home": home, "kernel": kernel}
    answer = kinds.get(task["kind"], build)(task)
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


def shared(task: dict) -> dict:
    """A build whose own cache was pruned has all of one outside; it is attested, and locked it is the same again."""
    from pybuild_magic.builders import embedded_builder
    from pybuild_magic.notebook.lock_command import lock_dockerfile

    os.environ["SOURCE_DATE_EPOCH"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        text, cache = task["dockerfile"], f"{scratch}/cache"
        common = {"outputs": "type=local,dest=out", "progress": "none"}
        attest = {"sbom": True, "provenance": "mode=max"}
        try:
            pybuild_magic.build(text, task["files"], cache_to=f"type=local,dest={cache},mode=max", **common)
            embedded_builder().prune(all=True)
            result = pybuild_magic.build(text, task["files"], cache_from=f"type=local,src={cache}", **common, **attest)
            ran = {step.name: step.cached for step in result.vertexes if "RUN" in step.name}
            lock_dockerfile([], text, task["files"])
            again = {"locked": True, "progress": "none", "no_cache": True}
            again["outputs"] = "type=image,name=locked,rewrite-timestamp=true"
            digests = {pybuild_magic.build(text, task["files"], **again).image.digest for _ in range(2)}
        except BuildError as error:
            return failed(error)
        return {
            "ran": {
                "cached": str(all(ran.values()) and len(ran)),
                "packages": " ".join(package.name for package in result.sbom.packages),
                "materials": str(len(result.provenance.materials)),
                "digests": str(len(digests)),
            }
        }


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


FIRST = """\
cat /data/a.txt -; echo "$(id -u):$(id -g) $(hostname)"; echo err >&2; echo back > /data/back
mkdir /srv/kept; echo kept > /srv/kept/file; chown -R 1234:5 /srv/kept; rm /etc/issue; exit 7"""
AGAIN = """\
echo $(id -u):$(id -g); echo $(stat -c %u:%g /srv/kept/file) $(cat /srv/kept/file); test -e /etc/issue || echo gone
echo > /data/no 2> /dev/null || echo read-only"""
INIT = "sleep 0.01 & exec sh -c 'sleep 0.1; exit 3'"


def run(task: dict) -> dict:
    """Run processes on the image that the Dockerfile names, the second on what the first has left."""
    from pybuild_magic.notebook import run_command

    def do(line: str, script: str) -> pybuild_magic.run.RunResult:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            words = f"{line} sh -c {shlex.quote(script)}"
            return run_command.run_line(run_command.run, words, None, {"typed": "typed\n"}, str)

    image, kept = task["dockerfile"].split()[1], "places-kept"
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in task["files"].items():
            Path(scratch, name).write_text(content)
        try:
            first = do(f"--rm -v {scratch}:/data -h buildbox --stdin $typed --diff --commit {kept} {image}", FIRST)
            again = do(f"-u 1234:5 -v {scratch}:/data:ro {kept}", AGAIN)
            absent = pybuild_magic.run(image, "/no/program")
            terminal = do(f"-t {image}", "echo $(tty) $(stty size)")
            init = do(f"--init {image}", INIT)
        except BuildError as error:
            return failed(error)
        back = Path(scratch, "back")
        return {
            "ran": {
                "exit code": str(first.exit_code),
                "stdout": first.text,
                "stderr": first.error_text,
                "changes": ", ".join(f"{change.kind} {change.file.path}" for change in first.changes),
                "written": f"{back.read_text()}, {'mine' if back.stat().st_uid == os.geteuid() else 'not mine'}",
                "on what was kept": again.text,
                "without the program": str(absent.exit_code),
                "a terminal": re.sub(r"[0-9]+ ", "N ", terminal.text.replace("\r", ""), count=1),
                "an init": str(init.exit_code),
            }
        }


def background(task: dict) -> dict:
    """Begin a process, start others beside it, and stop it; then kill the host of one."""
    from pybuild_magic.run.background import NotStartedError

    image = task["dockerfile"].split()[1]
    try:
        going = pybuild_magic.run.start(
            image, "bash", "-c", "trap 'echo bye; exit 3' TERM; echo begun; read", interactive=True
        )
        until = time.monotonic() + 60
        while "begun" not in going.text and time.monotonic() < until:
            time.sleep(0.02)
        beside = "id -u; touch /made; chown 5:6 /made; stat -c %u:%g /made; pwd; cat"
        inside = going.exec("sh", "-c", beside, stdin="typed\n", workdir="/tmp")
        code = going.stop()
        try:
            absent = str(pybuild_magic.run.start(image, "/no/program"))
        except NotStartedError as error:
            absent = str(error.code)
        before = {*Path("/proc").glob("[0-9]*")}
        pybuild_magic.run.start(image, "sleep", "4343")
        for process in {*Path("/proc").glob("[0-9]*")} - before:
            with contextlib.suppress(OSError):
                if "pybuild_magic.run.host" in (process / "cmdline").read_text():
                    os.kill(int(process.name), signal.SIGKILL)
        until = time.monotonic() + 60
        while (left := processes("sleep\x004343")) and time.monotonic() < until:
            time.sleep(0.02)
    except BuildError as error:
        return failed(error)
    return {
        "ran": {
            "beside it": inside.text + inside.error_text,
            "exit code": str(code),
            "logs": going.text,
            "without the program": absent,
            "left": ", ".join(left),
        }
    }


def kernel(task: dict) -> dict:
    """Start a kernel in an image that has this container's own Jupyter, and use it as a notebook does."""
    from jupyter_client.manager import KernelManager

    from pybuild_magic.kernels import spec

    before = set(working_directories())
    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {f"JUPYTER_{name}_DIR": f"{scratch}/{name}" for name in ("CONFIG", "DATA", "RUNTIME")}
        work = Path(scratch, "notebooks")
        work.mkdir()
        try:
            common = {"tags": "places-kernel", "build_contexts": {"local": "/usr/local"}, "progress": "none"}
            pybuild_magic.build(task["dockerfile"], {}, **common)
            (made,) = spec.install("places-kernel", pybuild_magic.run.RunOptions())
        except BuildError as error:
            return failed(error)
        manager = KernelManager(kernel_name=made.name)
        manager.start_kernel(cwd=str(work))
        client = manager.client()
        client.start_channels()

        def do(code: str) -> str:
            written = []
            hook = lambda message: written.append(message["content"].get("text", ""))  # noqa: E731
            content = client.execute_interactive(code, timeout=60, output_hook=hook)["content"]
            return "".join(written).strip() or content.get("ename", "")

        try:
            client.wait_for_ready(timeout=120)
            cell = do("import os; open('made', 'w').close(); print(os.getuid(), os.environ.get('WHERE'))")
            asked = client.execute("import time; print('begun'); time.sleep(600)")
            while client.get_iopub_msg(timeout=60)["msg_type"] != "stream":
                pass
            manager.interrupt_kernel()
            while (reply := client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != asked:
                pass
            manager.restart_kernel()
            client.wait_for_ready(timeout=120)
            restarted = do("cell = time")
        finally:
            client.stop_channels()
            manager.shutdown_kernel()
            manager.cleanup_resources()
        until = time.monotonic() + 5
        while (still := processes("connection.json")) and time.monotonic() < until:
            time.sleep(0.02)
        return {
            "ran": {
                "a cell": cell,
                "written": "mine" if (work / "made").stat().st_uid == os.geteuid() else "not mine",
                "interrupt": reply["content"]["ename"],
                "restart": restarted,
                "processes left": ", ".join(still),
                "directories left": ", ".join(sorted(set(working_directories()) - before)),
            }
        }


def working_directories() -> list:
    """The directories of other processes than this one below the store's `work`."""
    owners = Path(os.environ["PYBUILD_HOME"], "work").glob("[0-9]*")
    others = [owner for owner in owners if owner.is_dir() and not owner.name.startswith(f"{os.getpid()}-")]
    return [str(path) for owner in others for path in owner.iterdir()]


def advise(task: dict) -> dict:
    """Let each command fail, and see what is said of it."""
    said = {}
    for name, command in task["files"].items():
        lines = "".join(f"{line}\n" for line in ("RUN <<EOF", command, "EOF"))
        try:
            pybuild_magic.build(task["dockerfile"] + lines, {}, progress="none")
            said[name] = "nothing, since it worked"
        except BuildError as error:
            said[name] = failed(error)["hint"]
    return {"ran": said}


KEPT = """\
RUN mkdir /srv/kept && echo kept > /srv/kept/file && chown -R 1234:5 /srv/kept && rm /etc/issue"""
SEEN = "RUN stat -c %u:%g /srv/kept/file > /seen && cat /srv/kept/file >> /seen && ! test -e /etc/issue"


def home(task: dict) -> dict:
    """Keep the store small, by the commands of a cell."""
    from IPython.core.interactiveshell import InteractiveShell

    from pybuild_magic.builders import embedded_builder

    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "pybuild_magic")
    told = io.StringIO()

    def do(line: str, cell: str | None = None) -> str:
        run = shell.run_line_magic if cell is None else shell.run_cell_magic
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            return repr(run("build", line, *filter(None, [cell])))

    def digest() -> str:
        return next(i.descriptor.digest for i in embedded_builder().store.images.list() if "places-home" in i.name)

    build = "--progress=plain -o type=tar,dest=seen.tar -"
    before, start = Path.cwd(), task["dockerfile"]
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            do("-t places-home --progress=plain -", start + KEPT)
            built = digest()
            do("--progress=plain -", f"{start}RUN head -c 3000000 /dev/urandom > /unnamed")
            usage = do("du")
            planned = do("gc --dry-run --keep-storage 1m")
            collected = do("gc --keep-storage 1m")
            do(build, f"FROM places-home\n{SEEN}")
            rebuilt = members(Path("seen.tar"))["seen"]
            saved = do("save places-home kept.tar")
            do("rm places-home")
            pruned = do("prune -a")
            loaded = do("load kept.tar")
            do(build, f"FROM places-home\n{SEEN}")
            try:
                imported = do("import kept.tar")
            except BuildError as error:
                imported = str(error)
            Path("data/.git").mkdir(parents=True)
            with Path("data/.git/pack").open("wb") as file:
                file.truncate(120_000_000)
            ignored = do("ignore --context data")
            os.environ["PYBUILD_KEEP_STORAGE"] = "1m"
            do("--progress=plain -", "FROM places-home\nRUN head -c 3000000 /dev/urandom > /again")
            embedded_builder().collector.wait()
            do("--progress=plain -", "FROM scratch\n")
            by_itself = told.getvalue().rpartition("Collected ")[1:]
            return {
                "ran": {
                    "du": usage,
                    "gc --dry-run": planned,
                    "gc": collected,
                    "after gc": json.dumps(rebuilt),
                    "save": saved,
                    "prune": pruned,
                    "load": f"{loaded}{' the same' * (digest() == built)}",
                    "after load": json.dumps(members(Path("seen.tar"))["seen"]),
                    "import": imported,
                    "ignore": ignored + Path("data/.dockerignore").read_text(),
                    "by itself": "".join(by_itself),
                    "fsck": do("fsck"),
                }
            }
        except BuildError as error:
            return failed(error)
        finally:
            os.chdir(before)


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
        "rung": report.facts.sandbox.selected.number if report.facts.sandbox.selected else 0,
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
        found += [f"fsck {problem}" for problem in fsck(store)]
        collect_garbage(store)
        for name in ("ingest", "trash", "leases"):
            found += [f"file {path}" for path in (root / name).iterdir()]
        found += [f"fsck after gc {problem}" for problem in fsck(store)]
    return {"made": {}, "left": found}


if __name__ == "__main__":
    main()
