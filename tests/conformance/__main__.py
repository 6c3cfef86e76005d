"""`python -m tests.conformance [WORD…]`: compare all cases, or those whose names have a word; print what differs.

A run of all cases writes the table of README.md.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import functools
import multiprocessing
import multiprocessing.pool
import os
import sys
from collections.abc import Sequence

from tests.services import baseimages
from tests.services.buildkit import fresh_engine

from . import table
from .case import CASES
from .lab import carry, lab, load_cases, open_worker, work


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code, 1 when a case differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("-v", "--verbose", action="store_true", help="show every level that differs")
    options = parser.parse_args(arguments)
    names = sorted(name for name in load_cases() if not options.words or any(word in name for word in options.words))
    results: dict[str, table.Marks] = {}
    with contextlib.ExitStack() as stack:
        # The engine is started once, here, and kept for the others.
        version = stack.enter_context(lab()).reference.version
        pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(options.jobs, open_worker))
        for name, verdict, lower, seconds in pool.imap_unordered(work, names):
            results[name] = verdict.marks | table.rung_marks(verdict.marks, lower)
            for rung, other in lower.items():
                if table.lost(verdict.marks, other.marks):
                    print(f"\n### {name} on rung {rung}\n{other.report}", flush=True)
            if verdict.report:
                print(f"\n### {name} ({seconds:.1f} s)\n{verdict.report}", flush=True)
                if options.verbose:
                    for level, diff in verdict.diffs.items():
                        print("\n".join([f"--- {level}", *diff]))
        whole = [name for name in names if not CASES[name].instead]
        lacking = _carry(pool, whole)
        pool.close()
        pool.join()
    print(f"\n{table.summary(results) if options.words else table.write(results, version)}")
    print(f"\nCaches were carried both ways for {len(whole) - lacking} of {len(whole)} cases.")
    return 0 if all(all(marks.values()) for marks in results.values()) else 1


def _carry(pool: multiprocessing.pool.Pool, names: Sequence[str]) -> int:
    """Carry the caches of cases both ways, and print which steps they lack; for how many cases."""
    lacking = 0
    with fresh_engine() as other:
        other.load_base(baseimages.debian_python())
        for name, ours, theirs in pool.imap_unordered(functools.partial(carry, other), names):
            lacking += bool(ours or theirs)
            for who, steps in (("BuildKit's", ours), ("the embedded builder's", theirs)):
                if steps:
                    print(f"\n### {name}: the cache of {who} lacks {', '.join(steps)}", flush=True)
    return lacking


if __name__ == "__main__":
    atexit.register(sys.stdout.flush)
    sys.exit(main(sys.argv[1:]))
