"""Rows as a pandas DataFrame, if pandas is installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import UnsupportedError


def dataframe(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Any:
    """Return the rows as a DataFrame with these columns. Raises UnsupportedError when pandas is not installed."""
    try:
        pandas: Any = importlib.import_module("pandas")
    except ImportError:
        raise UnsupportedError(
            "A DataFrame needs pandas, which is not installed here.", hint="Run %pip install pandas."
        ) from None
    return pandas.DataFrame(list(rows), columns=list(columns))
