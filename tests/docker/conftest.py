"""The engine is given what the exporters make: the tests share their store."""

from tests.exporters.conftest import lab as lab
