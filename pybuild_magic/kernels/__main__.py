"""What the argv of a kernelspec starts."""

import sys

from ..builders import embedded_builder

# Its helper process starts while all else is imported.
embedded_builder().sandbox.prefetch()

from .launch import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
