"""The health of a run in the background: the HEALTHCHECK of its image, or of the flags, carried out as Docker does.

Source: moby, `daemon/health.go`. A run in the foreground is not checked: nobody could ask for its health.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from ..builders.embedded.sandbox import Hold
from ..builders.embedded.sandbox.process import Result, run_job
from ..cancel import Cancel
from ..errors import BuildError, UsageError
from ..oci.config import ContainerConfig, Healthcheck
from .door import Enter, channel
from .options import RunOptions
from .result import Captured, code_of

STARTING, HEALTHY, UNHEALTHY, NONE = "starting", "healthy", "unhealthy", "none"
STATES = (STARTING, HEALTHY, UNHEALTHY, NONE)
_SECOND = 1e9
_DEFAULTS = Healthcheck(interval=30_000_000_000, timeout=30_000_000_000, start_interval=5_000_000_000, retries=3)
_LEAST = 1_000_000
_SHELL = ("/bin/sh", "-c")
_MOST_PROBES = 5
_MOST_OUTPUT = 4096


class Probe(msgspec.Struct, frozen=True):
    """One check: its times in seconds since 1970, its exit code (-1 if it did not end by itself) and its output."""

    began: float
    ended: float
    exit_code: int
    output: str


class Health(msgspec.Struct, frozen=True):
    """The health of a run."""

    status: str = STARTING
    """`starting`, `healthy` or `unhealthy`."""
    failing: int = 0
    """How many checks have failed since the last that did not."""
    probes: tuple[Probe, ...] = ()
    """The last five, the newest last."""


class Check(msgspec.Struct, frozen=True):
    """What is checked, and when. Times are seconds."""

    args: tuple[str, ...]
    interval: float
    timeout: float
    start_period: float
    start_interval: float
    retries: int

    def pause(self, health: Health, age: float) -> float:
        """Return the seconds before the next check of a run that began `age` seconds ago."""
        starting = age < self.start_period and health.status == STARTING
        return self.start_interval if starting else self.interval

    def after(self, health: Health, probe: Probe, began: float) -> Health:
        """Return the health after another check; failures in the start period do not count before the first success."""
        probes = (*health.probes, probe)[-_MOST_PROBES:]
        if probe.exit_code == 0:
            return Health(HEALTHY, 0, probes)
        spared = health.status == STARTING and probe.began - began < self.start_period
        failing = health.failing + (not spared)
        return Health(UNHEALTHY if failing >= self.retries and not spared else health.status, failing, probes)


def check_of(config: ContainerConfig, options: RunOptions) -> Check | None:
    """Return the check of a run: that of the flags, and of the image where they say nothing; None for no check.

    Raises UsageError for flags that cannot be together, and times under a millisecond.
    """
    own = Healthcheck(
        test=("CMD-SHELL", options.health_cmd) if options.health_cmd else (),
        interval=options.health_interval,
        timeout=options.health_timeout,
        start_period=options.health_start_period,
        start_interval=options.health_start_interval,
        retries=options.health_retries,
    )
    if options.no_healthcheck:
        if own != Healthcheck():
            raise UsageError("--no-healthcheck and the flags --health-* cannot be together.", hint="Leave one out.")
        return None
    merged = _merged(own, config.healthcheck or Healthcheck())
    for name in ("interval", "timeout", "start_period", "start_interval"):
        if 0 < getattr(merged, name) < _LEAST:
            raise UsageError(f"--health-{name.replace('_', '-')} is less than a millisecond, the least.")
    kind, *words = merged.test or ("NONE",)
    if kind not in ("CMD", "CMD-SHELL") or not words:
        return None
    whole = _merged(merged, _DEFAULTS)
    return Check(
        tuple(words) if kind == "CMD" else (*(config.shell or _SHELL), words[0]),
        whole.interval / _SECOND,
        whole.timeout / _SECOND,
        whole.start_period / _SECOND,
        whole.start_interval / _SECOND,
        whole.retries,
    )


def _merged(own: Healthcheck, base: Healthcheck) -> Healthcheck:
    fields = ((name, getattr(own, name) or getattr(base, name)) for name in Healthcheck.__struct_fields__)
    return Healthcheck(**dict(fields))


class Watch:
    """Checks a run until it ends: `enter` starts a process in its sandbox, and `tell` gets the health each time."""

    def __init__(
        self, check: Check, enter: Callable[[Enter, Sequence[int]], None], tell: Callable[[Health], None]
    ) -> None:
        self._check = check
        self._enter = enter
        self._tell = tell
        self._ended = threading.Event()
        self._cancel = Cancel()
        self._thread = threading.Thread(target=self._work, name="pybuild-health", daemon=True)

    def start(self) -> None:
        """Begin to check."""
        self._thread.start()

    def stop(self) -> None:
        """End with the run; a check that is going on is killed."""
        self._ended.set()
        self._cancel.cancel()
        self._thread.join()

    def _work(self) -> None:
        health, began = Health(), time.time()
        while not self._ended.wait(self._check.pause(health, time.time() - began)):
            probe = self._probe()
            if self._ended.is_set():
                return
            health = self._check.after(health, probe, began)
            self._tell(health)

    def _probe(self) -> Probe:
        began, captured, result = time.time(), Captured(), Result()
        cancel = self._cancel = Cancel()

        def take(_: int, data: bytes) -> None:
            captured.add(data)

        timer = threading.Timer(self._check.timeout, cancel.cancel)
        timer.daemon = True
        timer.start()
        error = ""
        try:
            run_job(
                channel(lambda fds: self._enter(Enter(self._check.args), fds)),
                take,
                cancel,
                result,
                Hold(b""),
                terminal=False,
            )
        except (BuildError, OSError) as failure:
            error = str(failure)
        finally:
            timer.cancel()
        if cancel.cancelled:
            error = f"Health check exceeded timeout ({self._check.timeout:g}s)"
        elif result.failure is not None:
            error = result.failure[1]
        error = error or result.error
        output = error or _shortened(bytes(captured.data))
        return Probe(began, time.time(), -1 if error else code_of(result.code, ""), output)


def _shortened(data: bytes) -> str:
    text = data[:_MOST_OUTPUT].decode("utf-8", "replace")
    return f"{text}..." if len(data) > _MOST_OUTPUT else text
