"""The health of runs in the background: what Docker does is compared in `background_cases`; here, the rest."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest

import pybuild_magic
from pybuild_magic.errors import UsageError
from pybuild_magic.oci.config import ContainerConfig, Healthcheck
from pybuild_magic.run import BackgroundRun, RunOptions, start
from pybuild_magic.run.background import list_runs
from pybuild_magic.run.health import Check, Health, Probe, check_of
from pybuild_magic.run.listing import formatted

from .processes import processes

SECOND = 1_000_000_000


@pytest.fixture
def none_left(store: None) -> Iterator[None]:
    yield
    for record in list_runs(ended=True):
        BackgroundRun(record).stop(0)
        record.remove()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def status(run: BackgroundRun) -> str:
    assert run.health is not None
    return run.health.status


def test_flags_come_before_the_image_and_the_image_before_docker_s_own_times() -> None:
    config = ContainerConfig(healthcheck=Healthcheck(test=("CMD", "check", "it"), interval=7 * SECOND, retries=5))
    assert check_of(config, RunOptions()) == Check(("check", "it"), 7, 30, 0, 5, 5)
    given = RunOptions(health_cmd="other $it", health_interval=2 * SECOND, health_start_period=SECOND)
    assert check_of(config, given) == Check(("/bin/sh", "-c", "other $it"), 2, 30, 1, 5, 5)
    shell = ContainerConfig(shell=("/bin/bash", "-ec"))
    assert check_of(shell, RunOptions(health_cmd="x", health_retries=1)) == Check(
        ("/bin/bash", "-ec", "x"), 30, 30, 0, 5, 1
    )


@pytest.mark.parametrize("test", [(), ("NONE",), ("CMD",), ("nonsense", "x")])
def test_without_a_command_nothing_is_checked(test: tuple[str, ...]) -> None:
    config = ContainerConfig(healthcheck=Healthcheck(test=test, interval=SECOND))
    assert check_of(config, RunOptions(health_timeout=SECOND)) is None
    checked = ContainerConfig(healthcheck=Healthcheck(test=("CMD", "x")))
    assert check_of(checked, RunOptions(no_healthcheck=True)) is None


def test_failures_count_from_the_end_of_the_start_period_or_the_first_success() -> None:
    check = Check(("x",), interval=30, timeout=30, start_period=10, start_interval=1, retries=2)

    def after(*probes: tuple[float, int]) -> tuple[str, int]:
        health = Health()
        for began, code in probes:
            health = check.after(health, Probe(began, began, code, ""), 100)
        assert len(health.probes) <= 5
        return health.status, health.failing

    assert after(*((100 + n, 1) for n in range(8))) == ("starting", 0)
    assert after((109, 1), (111, -1)) == ("starting", 1)
    assert after((109, 1), (111, 1), (112, 1)) == ("unhealthy", 2)
    assert after((101, 0), (102, 1)) == ("healthy", 1)
    assert after((101, 0), (102, 1), (103, 1)) == ("unhealthy", 2)
    assert after((111, 1), (112, 1), (113, 0)) == ("healthy", 0)
    assert [check.pause(Health(), 9), check.pause(Health(), 10), check.pause(Health("healthy"), 9)] == [1, 30, 30]


def test_the_check_of_an_image_runs_as_its_user_with_its_variables(none_left: None) -> None:
    pybuild_magic.build(
        "FROM busybox\nENV A=1\nUSER 7:8\nWORKDIR /tmp\n"
        "HEALTHCHECK --interval=50ms --retries=1 CMD echo $A $B $(id -u):$(id -g) $(pwd); test -e ready\n"
        'CMD ["sleep", "1000"]',
        tags="checked",
        progress="quiet",
    )
    going = start("checked", env={"B": "2"})
    until(lambda: status(going) == "unhealthy")
    assert going.health is not None
    assert going.health.probes[-1].output == "1 2 7:8 /tmp\n"
    (record,) = list_runs()
    assert record.state() == "running (unhealthy)"
    assert re.fullmatch(r"Up .* \(unhealthy\)", formatted([record], "{{.Status}}"))
    going.exec("touch", "ready")
    until(lambda: status(going) == "healthy")
    going.stop(0)
    assert list_runs(ended=True)[0].state() == "exited (137)"


def test_a_check_that_goes_on_ends_with_its_time_or_with_the_run(none_left: None) -> None:
    going = start("busybox", "sleep", "1000", health_cmd="sleep 43210", health_interval="50ms", health_timeout="200ms")
    until(lambda: going.health is not None and len(going.health.probes) > 1)
    assert going.health is not None
    assert {probe.output for probe in going.health.probes} == {"Health check exceeded timeout (0.2s)"}
    other = start("busybox", "sleep", "1000", health_cmd="echo; sleep 43220", health_interval="50ms")
    until(lambda: any(processes("43220")))
    other.stop(0)
    going.stop(0)
    assert not [*processes("43210"), *processes("43220")]


def test_wrong_flags_are_told_before_anything_runs(none_left: None) -> None:
    for arguments, message in (
        ({"health_interval": "5"}, "missing unit"),
        ({"health_timeout": "-1s"}, "is negative"),
        ({"health_interval": "1us", "health_cmd": "x"}, "less than a millisecond"),
        ({"health_retries": "x"}, "takes a number of failures"),
        ({"health_cmd": "x", "no_healthcheck": True}, "cannot be together"),
    ):
        with pytest.raises(UsageError, match=message):
            start("busybox", "true", **arguments)
    assert list_runs(ended=True) == []
