"""What the widgets leave behind in a kernel that shows hundreds of them."""

from __future__ import annotations

import gc
import weakref

import anywidget
import pytest

from pybuild_magic.display.downloads import DownloadChannel
from pybuild_magic.display.explorer import ResultView
from pybuild_magic.display.widget import ProgressView


@pytest.mark.parametrize("kind", [ProgressView, ResultView, DownloadChannel])
def test_a_closed_widget_takes_no_memory(kind: type[anywidget.AnyWidget]) -> None:
    widget = kind()
    left = weakref.ref(widget)
    widget.close()
    del widget
    gc.collect()
    assert left() is None
