"""Pictures that a person has looked at, and whether what is drawn now still looks like them.

Other machines have other fonts, so a picture is compared as one sees it from afar: blurred, and with a tolerance.
`UPDATE_SNAPSHOTS=1 pytest tests/browser` takes them anew, to be looked at again.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageFilter

if TYPE_CHECKING:
    from playwright.sync_api import Locator

FOLDER = Path(__file__).parent / "snapshots"
_TALLER = 0.08
"""The part of its height by which a picture may be taller or shorter."""
_FAR = 40
"""Levels of 255 by which a blurred pixel has to differ to count."""
_DIFFERENT = 0.03
"""The part of pixels that may differ so."""


def check(name: str, what: Locator) -> None:
    """Compare what an element looks like with the picture `name`. Raises AssertionError."""
    shot = Image.open(io.BytesIO(what.screenshot(animations="disabled"))).convert("RGB")
    path = FOLDER / f"{name}.png"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        FOLDER.mkdir(exist_ok=True)
        shot.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
        return
    assert path.exists(), f"There is no picture {path.name}: run with UPDATE_SNAPSHOTS=1, and look at it."
    known = Image.open(path).convert("RGB")
    apart = abs(shot.height - known.height) / known.height
    assert apart <= _TALLER, f"{path.name} is {known.height} pixels high, and now {shot.height}."
    known = known.resize(shot.size)
    difference = ImageChops.difference(_from_afar(shot), _from_afar(known)).convert("L")
    counted = difference.histogram()
    part = sum(counted[_FAR:]) / sum(counted)
    assert part <= _DIFFERENT, f"{100 * part:.1f} % of {path.name} looks different now."


def _from_afar(picture: Image.Image) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(6)).reduce(4)
