"""`python -m tests.places [WORD…]`: do every task in every place, or in those with a word in their names; a table.

`-t TASK` picks tasks, `-a` does the slow ones everywhere, `-v` prints what was wrong.
"""

from __future__ import annotations

import argparse
import sys

from tests.services import buildkit
from tests.services import registry as registries

from .expected import reason
from .lab import lab, share
from .place import PLACES
from .table import PAGE, written
from .task import TASKS


def main(arguments: list[str]) -> int:
    """The command line; 1 when something is not as `expected` says."""
    parser = argparse.ArgumentParser(prog="python -m tests.places", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("-t", "--task", action="append", choices=[*TASKS], metavar="TASK")
    parser.add_argument("-a", "--all", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument(
        "--page", action="store_true", help="write the tables of docs/reference/places.md, and nothing else"
    )
    options = parser.parse_args(arguments)
    if options.page:
        PAGE.write_text(written())
        return 0
    places = [p for p in PLACES.values() if not options.words or any(word in p.name for word in options.words)]
    tasks = [task for task in TASKS.values() if not options.task or task.name in options.task]
    engine = buildkit.engine()
    surprises: list[str] = []
    print("".join(["place".ljust(18), *(task.name[:9].rjust(10) for task in tasks)]), flush=True)
    with registries.registry() as registry:
        share(engine, registry)
        for place in places:
            print(place.name.ljust(18), end="", flush=True)
            faults: list[str] = []
            with lab(engine, registry, place) as opened:
                for task in tasks:
                    if task.slow and not (place.stands or options.all):
                        print("".rjust(10), end="", flush=True)
                        continue
                    outcome = opened.do(task)
                    expected = reason(place, task)
                    mark = "no" if outcome.fault else f"{outcome.seconds:.1f}"
                    if bool(outcome.fault) != bool(expected):
                        mark += "!"
                        surprises.append(f"{place.name}, {task.name}: {outcome.fault or 'works, and should not'}")
                    if outcome.fault:
                        faults.append(f"    {task.name}: {outcome.fault}")
                    print(mark.rjust(10), end="", flush=True)
            print("", *(faults if options.verbose else []), sep="\n" if options.verbose and faults else "", flush=True)
    print("\nSeconds; `no` does not work there yet; `!` is not as tests/places/expected.py says:")
    print("\n".join(surprises) or "everything is as it says.")
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
