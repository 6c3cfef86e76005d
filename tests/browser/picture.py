"""The README's picture, taken of a real build in a real JupyterLab: `python -m tests.browser.picture`."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image

from pybuild_magic.images.load import load_image
from pybuild_magic.store import Store
from tests.services import baseimages
from tests.services.chromium import browser

from .lab import Notebook, lab, open_notebook

TARGET = Path(__file__).parents[2] / "notebooks" / "images" / "quickstart.png"

APP = """%load_ext pybuild_magic
_ = __import__("pybuild_magic").build("FROM python\\nRUN true", progress="quiet")
app = {"main.py": "import greet", "greet.py": "print('Hello from a notebook')"}"""

BUILD = """%%build -t greeter -o type=oci,dest=greeter.tar -o type=image $app
FROM python AS build
WORKDIR /app
COPY . .
RUN python3 -m compileall . && python3 main.py

FROM python
COPY --from=build /app /app
ENTRYPOINT ["python3", "/app/main.py"]"""


def main() -> None:
    """Take it, in twice the resolution and with few colours, so that it is sharp and small."""
    with tempfile.TemporaryDirectory() as folder:
        root, home = Path(folder, "root"), Path(folder, "home")
        root.mkdir()
        home.mkdir()
        store = Store(home / "store")
        load_image(store, baseimages.debian_python().path, "python")
        store.close()
        with (
            lab(root, home) as server,
            browser() as chromium,
        ):
            server.write("picture.ipynb", APP, BUILD)
            with open_notebook(server, chromium, "picture.ipynb", width=1000, height=1500, scale=2) as notebook:
                picture = _take(notebook)
    TARGET.parent.mkdir(exist_ok=True)
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(
        128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
    ).save(TARGET, optimize=True)
    print(f"{TARGET.name}: {TARGET.stat().st_size / 1000:.0f} kB")


def _take(notebook: Notebook) -> bytes:
    notebook.run(0)
    notebook.run(1)
    notebook.outputs(1).locator(".pbr").first.wait_for()
    notebook.page.add_style_tag(content=".jp-cell-toolbar, .jp-Collapser { visibility: hidden }")
    notebook.page.evaluate("document.activeElement.blur()")
    notebook.page.mouse.move(0, 0)
    notebook.page.wait_for_timeout(500)
    return notebook.cell(1).screenshot()


if __name__ == "__main__":
    main()
