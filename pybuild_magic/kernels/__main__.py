"""The program in the argv of a kernelspec."""

import gc
import sys

from ..builders import embedded_builder


def _main() -> int:
    gc.disable()  # until the kernel has started: what is made until then stays
    embedded_builder().sandbox.prefetch()  # its process starts while everything else is imported
    from .launch import main

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(_main())
