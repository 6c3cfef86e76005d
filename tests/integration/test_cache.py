"""What is built once is not built again, by whom and whenever it was built; and what changes it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pybuild_magic.api.run import run
from pybuild_magic.errors import BuildError, RunError
from pybuild_magic.request.options import BuildOptions
from pybuild_magic.result import BuildResult
from pybuild_magic.status.messages import SolveStatus
from pybuild_magic.status.trace import Trace
from pybuild_magic.store import Store
from pybuild_magic.store.collect import collect_garbage
from pybuild_magic.store.fsck import fsck
from pybuild_magic.store.usage import prune

from .lab import FILES, TWO_STAGES, Home, close_builder

STEPS = ("COPY", "RUN", "WORKDIR", "ADD")


def ran(result: BuildResult) -> list[str]:
    """The instructions that were run, by their first words."""
    return [
        v.name.partition("] ")[2]
        for v in result.vertexes
        if not v.cached and v.name.partition("] ")[2].startswith(STEPS)
    ]


def cached(result: BuildResult) -> list[str]:
    return [
        v.name.partition("] ")[2] for v in result.vertexes if v.cached and v.name.partition("] ")[2].startswith(STEPS)
    ]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    for name, text in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def test_the_second_build_runs_nothing_and_says_so(
    home: Home, context: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = home.build(TWO_STAGES, str(context), tags="x", outputs=f"type=oci,dest={tmp_path}/1.tar")
    assert len(ran(first)) == 6
    again = home.build(TWO_STAGES, str(context), tags="x", outputs=f"type=oci,dest={tmp_path}/2.tar", progress="plain")
    assert ran(again) == []
    assert sorted(cached(again)) == sorted(ran(first))
    assert again.image_id == first.image_id
    assert again.metadata["containerimage.config.digest"] == first.metadata["containerimage.config.digest"]
    assert capsys.readouterr().err.count("CACHED") == len(cached(again))
    log = home.builder.history()[0]
    assert log.status == "completed"


def test_a_build_took_as_long_by_its_result_as_by_the_history(home: Home) -> None:
    """A card said 192 ms, and the list of builds 118 ms: the one had opened the store in that time."""
    result = home.build("FROM busybox\nRUN sleep 0.1\n", ".")
    assert result.summary.seconds == home.builder.history()[0].duration
    card = _Card()
    with pytest.raises(RunError):
        run(BuildOptions(dockerfile="FROM busybox\nRUN sleep 0.1; exit 3\n", context="-"), card)
    record = home.builder.history()[0]
    assert (record.status, record.duration) == ("error", card.seconds)


class _Card:
    """A display that notes how long the build took."""

    seconds = 0.0

    def update(self, status: SolveStatus) -> None: ...

    def tick(self, trace: Trace) -> None: ...

    def finish(self, trace: Trace, error: BuildError | None, result: BuildResult | None = None) -> None:
        assert result is not None and result.summary.seconds == trace.seconds
        self.seconds = trace.seconds


def test_the_cache_outlives_its_process(home: Home, context: Path) -> None:
    first = home.elsewhere(TWO_STAGES, str(context), outputs=["type=image,name=x"])
    assert sum("RUN" in name for name in first["ran"]) == 2
    second = home.elsewhere(TWO_STAGES, str(context), outputs=["type=image,name=x"])
    assert not [name for name in second["ran"] if "RUN" in name or "COPY" in name]
    assert second["id"] == first["id"]
    here = home.build(TWO_STAGES, str(context))
    assert ran(here) == []


def touch(context: Path) -> None:
    for path in context.rglob("*"):
        os.utime(path, (1, 1))


def mode(context: Path) -> None:
    (context / "make.sh").chmod(0o755)


def content(context: Path) -> None:
    (context / "data/name").write_text("another build\n")


def new(context: Path) -> None:
    (context / "data/more").write_text("")


def ignored(context: Path) -> None:
    (context / "ignored").write_text(str(time.time()))


CHANGES: list[tuple[Callable[[Path], None], bool]] = [
    (touch, False),
    (ignored, False),
    (mode, True),
    (content, True),
    (new, True),
]


@pytest.mark.parametrize(("change", "busts"), CHANGES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_what_busts_the_cache_of_a_copy(home: Home, context: Path, change: Callable[[Path], None], busts: bool) -> None:
    (context / ".dockerignore").write_text("ignored\n.dockerignore\n")
    (context / "ignored").write_text("")
    dockerfile = "FROM busybox\nRUN echo before\nCOPY . /all\nRUN echo after\n"
    home.build(dockerfile, str(context))
    change(context)
    again = home.build(dockerfile, str(context))
    assert ran(again) == (["COPY . /all", "RUN echo after"] if busts else [])


def test_a_copy_that_is_the_same_after_all_ends_the_change(home: Home, context: Path) -> None:
    dockerfile = (
        "FROM busybox AS a\nCOPY data /d\nRUN cat /d/name > /out\nFROM busybox\nCOPY --from=a /out /\nRUN cat /out\n"
    )
    home.build(dockerfile, str(context))
    (context / "data/more").write_text("not read")
    again = home.build(dockerfile, str(context))
    assert ran(again) == ["COPY data /d", "RUN cat /d/name > /out"]


def test_arguments_bust_what_comes_after_them(home: Home) -> None:
    dockerfile = "FROM busybox\nRUN echo 1\nARG A\nRUN echo 2\nARG UNUSED\n"
    home.build(dockerfile, build_args={"A": "1"})
    assert ran(home.build(dockerfile, build_args={"A": "1", "UNUSED": "x"})) == []
    assert ran(home.build(dockerfile, build_args={"A": "2"})) == ["RUN echo 2"]


def test_no_cache_and_no_cache_filter(home: Home) -> None:
    dockerfile = "FROM busybox AS one\nRUN echo 1\nFROM busybox AS two\nRUN echo 2\nCOPY --from=one /bin/sh /sh\n"
    first = home.build(dockerfile)
    assert len(ran(first)) == 3
    assert ran(home.build(dockerfile)) == []
    assert sorted(ran(home.build(dockerfile, no_cache=True))) == sorted(ran(first))
    assert ran(home.build(dockerfile, no_cache_filter="one")) == ["RUN echo 1"]
    assert ran(home.build(dockerfile, no_cache_filter=["two"])) == ["RUN echo 2", "COPY --from=one /bin/sh /sh"]
    assert ran(home.build(dockerfile)) == []


def test_builds_at_once_run_a_step_once(home: Home) -> None:
    """Whether they are of one process or of several."""
    dockerfile = (
        "FROM busybox\nRUN --mount=type=cache,target=/c echo x >> /c/count; sleep 1; head -c 9 /dev/urandom > /r\n"
    )
    options = {"outputs": ["type=image,name=once"]}
    others = [home.start(dockerfile, "-", **options) for _ in range(3)]
    answers = [other.answer() for other in others]
    for other in others:
        other.__exit__()
    assert len({answer["id"] for answer in answers}) == 1, answers
    count = home.build("FROM busybox\nRUN --mount=type=cache,target=/c wc -l < /c/count\n")
    assert [log.strip() for log in count.logs.values()] == ["1"]


def test_a_failed_step_is_tried_again(home: Home, tmp_path: Path) -> None:
    secret = tmp_path / "code"
    dockerfile = "FROM busybox\nRUN --mount=type=secret,id=code exit $(cat /run/secrets/code)\n"
    secret.write_text("4")
    assert "exit code: 4" in home.fails(dockerfile, secrets=f"id=code,src={secret}").message
    secret.write_text("0")
    assert len(ran(home.build(dockerfile, secrets=f"id=code,src={secret}"))) == 1


def test_an_image_of_an_earlier_build_is_the_base_of_the_next(home: Home) -> None:
    home.build("FROM busybox\nRUN echo first > /who\n", tags="mine/base:1")
    one = home.build("FROM mine/base:1\nRUN cat /who\n")
    assert "first" in one.logs.values()
    home.build("FROM busybox\nRUN echo second > /who\n", tags="mine/base:1")
    close_builder()
    two = home.build("FROM mine/base:1\nRUN cat /who\n")
    assert "second" in two.logs.values()
    assert "could not be pulled" in home.fails("FROM mine/base:1\n", pull=True).message


def test_pruning_forgets_and_keeps_images(home: Home, context: Path) -> None:
    first = home.build(TWO_STAGES, str(context), tags="kept:1")
    home.builder.prune(all=True)
    assert fsck(home.builder.store) == []
    assert ran(home.build("FROM kept:1\nRUN run\n")) == ["RUN run"]
    again = home.build(TWO_STAGES, str(context), tags="kept:2")
    assert sorted(ran(again)) == sorted(ran(first))


def test_a_prune_of_another_kernel_at_the_end_of_a_build_does_not_make_it_fail(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing keeps the layers of a build without a name, once its lease has ended."""
    lease, pruned = home.builder.store.lease, list[int]()

    @contextmanager
    def followed_by_a_prune() -> Iterator[None]:
        with lease():
            yield
        with Store(home.builder.store.root) as other:
            pruned.append(prune(other, all=True).reclaimed)
            collect_garbage(other)

    monkeypatch.setattr(home.builder.store, "lease", followed_by_a_prune)
    result = home.build("FROM scratch\nCOPY a /\n", {"a": "x" * 100_000}, outputs="type=cacheonly")
    assert result.summary.error == ""
    assert any(pruned)  # once the outermost lease has ended
