"""Scenarios in which our runs and docker's do the same: command lines, one after the other, on a background run."""

from __future__ import annotations

from dataclasses import dataclass

from .cases import IMAGE

NAME = "NAME"
"""The placeholder for the name of the run in a scenario."""


@dataclass(frozen=True)
class Step:
    """The words of one command line. If the engine words an error in its own way, only exit codes are compared."""

    words: tuple[str, ...]
    stdin: bytes | None = None
    quiet: bool = False


def _begin(script: str, *flags: str) -> Step:
    return Step(("run", "-d", "--name", NAME, *flags, IMAGE, "sh", "-c", script), quiet=True)


def _exec(script: str, *flags: str, stdin: bytes | None = None, quiet: bool = False) -> Step:
    return Step(("exec", *flags, NAME, "sh", "-c", script), stdin, quiet)


def _quiet(*words: str) -> Step:
    return Step(words, quiet=True)


_STAY = "touch /ready; while :; do sleep 0.05; done"
_READY = _exec("until test -e /ready; do sleep 0.05; done")
_STATE = "id; pwd; echo $A $B $R $HOME $PATH ${TERM-unset}; ulimit -n; umask; hostname | wc -c"
_CAPABILITIES = "grep Cap /proc/self/status"

_TIMES = ("--health-interval=50ms", "--health-timeout=10s", "--health-retries=2")


def _checked(count: int) -> Step:
    """Wait until so many checks have ended and are known."""
    return _exec(f"until test $(wc -l < /checks) -gt {count}; do sleep 0.05; done; sleep 1")


def _health(command: str, *flags: str) -> Step:
    return _begin(
        f": > /checks; {_STAY}", *_TIMES, *flags, "--health-cmd", f"{command}; r=$?; echo >> /checks; exit $r"
    )


_STATUS = (
    *(Step(("ps", "--filter", f"name=^{NAME}$", "--filter", f"health={state}", "--format", "{{.Names}}"))
      for state in ("starting", "healthy", "unhealthy", "none")),
)  # fmt: skip

SCENARIOS: dict[str, tuple[Step, ...]] = {
    "healthy": (_health("test -e /ready"), _READY, _checked(3), *_STATUS),
    "unhealthy": (_health("echo wrong; false"), _READY, _checked(3), *_STATUS),
    "healthy_again": (
        _health("test -e /well"),
        _READY,
        _checked(3),
        _exec("touch /well; : > /checks"),
        _checked(3),
        *_STATUS,
        _exec("rm /well; : > /checks"),
        _checked(3),
        *_STATUS,
    ),
    "a_start_period": (
        _health("false", "--health-start-period=1h", "--health-start-interval=50ms"),
        _READY,
        _checked(4),
        *_STATUS,
    ),
    "a_check_that_takes_too_long": (
        _begin(
            _STAY, "--health-interval=50ms", "--health-timeout=100ms", "--health-retries=1", "--health-cmd=sleep 100"
        ),
        _exec("sleep 3"),
        *_STATUS,
    ),
    "a_check_that_is_no_program": (
        _begin(_STAY, "--health-interval=50ms", "--health-retries=1", "--health-cmd=/missing"),
        _exec("sleep 2"),
        *_STATUS,
    ),
    "no_health": (_begin(_STAY), _READY, *_STATUS),
    "no_healthcheck": (_begin(_STAY, "--no-healthcheck"), _READY, *_STATUS),
    "times_alone": (_begin(_STAY, "--health-interval=1s"), _READY, *_STATUS),
    "wrong_checks": (
        *(
            _begin(_STAY, "--health-cmd=true", flag)
            for flag in (
                *("--health-interval=-1s", "--health-interval=1us", "--health-interval=3", "--health-timeout=1ns"),
                *("--health-retries=-1", "--health-retries=x", "--health-start-period=", "--no-healthcheck"),
            )
        ),
    ),
    "its_own_stop_signal": (
        _begin(f"trap 'echo bye; exit 3' USR1; echo out; echo err >&2; {_STAY}", "--stop-signal", "USR1"),
        _READY,
        Step(("logs", NAME)),
        Step(("logs", "--tail", "0", NAME)),
        Step(("logs", "-n", "-1", NAME)),
        _quiet("run", "-d", "--name", NAME, IMAGE, "true"),
        _quiet("stop", NAME),
        _quiet("stop", NAME),
        Step(("logs", NAME)),
        Step(("logs", "-f", NAME)),
        Step(("logs", "--tail=1", NAME)),
        _quiet("exec", NAME, "true"),
    ),
    "another_stop_signal": (
        _begin(f"trap 'echo bye; exit 3' TERM; trap 'echo hup; exit 4' HUP; {_STAY}"),
        _READY,
        _quiet("stop", "-s", "HUP", "-t", "-1", NAME),
        Step(("logs", NAME)),
    ),
    "deaf": (
        _begin(f"trap '' TERM; echo deaf; {_STAY}"),
        _READY,
        _quiet("stop", "--timeout", "0", NAME),
        Step(("logs", NAME)),
    ),
    "finishing": (
        _begin("trap '' TERM; touch /ready; while ! test -e /stop; do sleep 0.05; done; sleep 1; echo finished"),
        _READY,
        _exec("touch /stop"),
        _quiet("stop", "-t", "20", NAME),
        Step(("logs", NAME)),
    ),
    "without_a_handler": (
        _begin(
            "touch /ready; while ! test -e /stop; do sleep 0.05; done; sleep 1; echo finished", "--stop-timeout", "20"
        ),
        _READY,
        _exec("touch /stop"),
        _quiet("stop", NAME),
        Step(("logs", NAME)),
    ),
    "killed_in_time": (
        _begin("touch /ready; sleep 30; echo never"),
        _READY,
        _quiet("stop", "-t", "1", NAME),
        Step(("logs", NAME)),
    ),
    "entered": (
        _begin(_STAY, "-e", "R=run", "-w", "/tmp"),
        _READY,
        _exec(_STATE),
        _exec(_STATE, "-u", "user", "-e", "A=1", "-e", "NEW=2", "-w", "/etc"),
        _exec("id", "-u", "1000:extra"),
        _exec("id", "-u", "7:8"),
        _exec("tty; echo ${TERM-unset} ${NEW-unset}; cat; cat /proc/1/comm"),
        _exec("cat; echo end", "-i", stdin=b"one\ntwo\n"),
        _exec("wc -c", "-i", stdin=b"x" * 300_000),
        _exec("test -c $(tty) && echo $TERM; echo err >&2", "-t"),
        _exec("echo out; echo err >&2; exit 5"),
        _exec("kill -9 $$"),
        _exec("kill -15 $$"),
        _exec("grep CapEff /proc/self/status", "--privileged"),
        Step(("exec", NAME, "/broken"), quiet=True),
        *(_quiet("exec", NAME, command) for command in ("nosuch", "/nosuch", "/noexec", "/etc")),
        _exec("true", "-u", "nobody9", quiet=True),
        _exec("true", "-u", "user:nogroup9", quiet=True),
        _exec("true", "--nosuch", quiet=True),
        _quiet("exec", NAME),
    ),
    "narrowed": (
        _begin(
            f"mkdir -p /t; touch /t/ready; {_STAY.replace('/ready', '/t/ready')}",
            *("--init", "--read-only", "--tmpfs", "/t", "--cap-drop", "ALL", "--ulimit", "nofile=100:200"),
            *("-u", "user", "--network", "none"),
        ),
        _exec("until test -e /t/ready; do sleep 0.05; done; touch /x; ls /sys/class/net"),
        _exec(f"{_STATE}; {_CAPABILITIES}"),
        _exec(f"touch /x; {_CAPABILITIES}", "-u", "0"),
    ),
    "its_input_stays_open": (
        Step(("run", "-di", "--network", "none", "--name", NAME, IMAGE, "cat"), quiet=True),
        _exec(f"cat /proc/1/comm; {_CAPABILITIES}"),
        _exec(_CAPABILITIES, "-u", "user"),
        _quiet("stop", "-t", "0", NAME),
    ),
    "a_terminal": (
        _begin(f"tty; echo $TERM; echo err >&2; {_STAY}", "-t"),
        _READY,
        Step(("logs", NAME)),
    ),
    "listed": (
        _begin(_STAY, "-l", "team=NAME", "-l", "bare", "--label", "x=y=z"),
        _READY,
        *(
            Step(("ps", *words, "--format", '{{.Names}} {{.Command}} {{.State}} {{.Labels}} {{.Label "x"}}'))
            for words in (
                *(("-f", f"label={label}") for label in ("team=NAME", "team=other", "missing")),
                *(("-f", "label=team=NAME", "--filter", f"label={label}") for label in ("bare", "x=y=z", "bare=1")),
                *(("-f", f"name={name}") for name in ("NAME", "^NAME$", "/NAME", "NAME.", "AME")),
                ("-f", "name=NAME", "-f", "name=other"),
                *(("-f", "name=NAME", "-f", f"status={state}") for state in ("running", "exited", "paused")),
                ("-f", "name=NAME", "-f", "status=exited", "-f", "status=running"),
                ("-f", "name=NAME", "-f", "ancestor=busybox"),
                *(("-af", "name=NAME", "-f", f"exited={code}") for code in (0, 3)),
                *(("-f", "name=NAME", "-f", f"{word}=NAME") for word in ("before", "since")),
            )
        ),
        Step(("ps", "-f", "label=team=NAME", "--format", "table {{.Names}}\\t{{.State}}\\t{{.Labels}}")),
        Step(("ps", "-f", "label=team=NAME", "--format", 'table {{.Names}} {{.Label "x"}}')),
        Step(("ps", "-f", "label=team=NAME", "--format", "{{json .Names}}")),
        Step(("ps", "-f", "label=missing", "--format", "json")),
        _quiet("ps", "-f", "nosuch=1"),
        _quiet("ps", "-f", "label"),
        _quiet("ps", "-f", "status=nosuch"),
        _quiet("ps", "-n", "x"),
        _quiet("ps", "-f", "before=missing-NAME"),
        _quiet("ps", "-f", "label=team=NAME", "--format", "{{.Nosuch}}"),
        _quiet("stop", "-t", "0", NAME),
        Step(("ps", "-f", "label=team=NAME", "--format", "{{.Names}}")),
        Step(("ps", "-n", "1", "-f", "label=team=NAME", "--format", "{{.Names}} {{.State}}")),
        Step(("ps", "-l", "-f", "label=team=NAME", "--format", "{{.Names}} {{.State}}")),
        *(
            Step(("ps", *words, "-f", "label=team=NAME", "--format", "{{.Names}} {{.State}}"))
            for words in (
                *(("-f", "exited=137", *more) for more in ((), ("-a",))),
                *(("-f", f"status={state}") for state in ("running", "exited")),
            )
        ),
    ),
    "logged_in_time": (
        _begin(f"echo out; echo err >&2; {_STAY}"),
        _READY,
        *(
            Step(("logs", *words, NAME))
            for words in (
                *(("--since", word) for word in ("1h", "1h30m", "-1h", "2013-01-02", "2013-01-02T13", "5", "1.5")),
                *(("--since", f"2013-01-02T13:23{word}") for word in (":37", ":37.5", "Z", ":37+01:00")),
                *(("--until", word) for word in ("1h", "2013-01-02T13:23:37Z", "-1h", "4000000000")),
                ("--since", "1h", "--until", "-1h", "--tail", "5"),
                ("--since", ""),
            )
        ),
        *(_quiet("logs", "--since", word, NAME) for word in ("x", "5 s", "2013-13-02", "2013-1-2", "1h30")),
        _quiet("stop", "-t", "0", NAME),
    ),
    "not_begun": (
        _quiet("run", "-d", "--name", NAME, IMAGE, "nosuch"),
        _quiet("run", "-d", "--name", f"{NAME}-2", "-u", "nobody9", IMAGE, "true"),
        _quiet("run", "-d", "--name", "a b", IMAGE, "true"),
        _quiet("run", "-d", "--nosuch", IMAGE, "true"),
    ),
    "missing": tuple(_quiet(*words) for words in (("exec", NAME, "true"), ("logs", NAME), ("stop", NAME))),
}
