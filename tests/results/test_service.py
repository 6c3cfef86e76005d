"""What the kernel answers to pages: each question, hostile ones too, and that nothing but what was offered is told."""

from __future__ import annotations

import json
import queue
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import run_kernel

from pybuild_magic.display.service import CHUNK, Service, connect
from pybuild_magic.errors import BuildError
from pybuild_magic.request.outputs import Output
from pybuild_magic.result import BuildResult
from pybuild_magic.results.bounds import bound
from pybuild_magic.results.columns import columns_of
from pybuild_magic.results.contents import Contents
from pybuild_magic.store import Entry
from pybuild_magic.summary import MIME_TYPE
from tests.services.baseimages import BaseImage

from .conftest import FILES

BUILD = "FROM busybox\nRUN echo hi > /hello\n"


@pytest.fixture(scope="module")
def service() -> Service:
    return Service()


@pytest.fixture(scope="module")
def token(service: Service, built: BuildResult) -> str:
    assert built._contents is not None
    return service.offer(built._contents, built._lines)


def listed(answer: dict[str, Any], name: str) -> list[Any]:
    """A column of an answer: a list, the one value that all entries have, or a letter for each."""
    column = answer["columns"][name]
    return list(column) if name == "type" or isinstance(column, list) else [column] * len(answer["columns"]["type"])


def paths(answer: dict[str, Any]) -> list[str]:
    columns = answer["columns"]
    runs = zip(columns["runs"][::2], columns["runs"][1::2], strict=True)
    folders = [columns["folders"][place] for place, count in runs for _ in range(count)]
    pairs = zip(folders, columns["names"].split("/"), strict=True)
    return [f"{folder}/{name}".removeprefix("/") for folder, name in pairs]


def test_trees_come_as_columns_and_in_parts(service: Service, token: str, built: BuildResult) -> None:
    whole, _ = service.answer(token, "files", {"of": "image", "offset": 0, "limit": 100_000})
    assert whole["total"] == len(paths(whole)) > 100
    each = whole["columns"].keys() - {"folders", "runs", "names"}
    assert {len(listed(whole, name)) for name in each} == {whole["total"]}
    assert len(set(whole["columns"]["folders"])) == len(whole["columns"]["folders"]) < 20
    assert isinstance(whole["columns"]["mode"], list) and whole["columns"]["uid"] == 0
    part, _ = service.answer(token, "files", {"of": "image", "offset": 5, "limit": 3})
    assert paths(part) == paths(whole)[5:8]
    for number in (1, 2, 3):
        same, _ = service.answer(token, "files", {"of": f"output:{number}", "offset": 0, "limit": 100_000})
        assert sorted(paths(same)) == sorted(paths(whole))


def test_a_layer_is_told_by_what_it_changes(service: Service, token: str, built: BuildResult) -> None:
    assert built.image is not None
    diff_id = built.image.layers[4].diff_id
    alone, _ = service.answer(token, "files", {"of": f"layer:{diff_id}", "offset": 0, "limit": 100})
    told = dict(zip(paths(alone), listed(alone, "change"), strict=True))
    assert told == {"junk": "D", "junk/file": "D", "src": "M", "src/a.txt": "M"} | (
        {"src": told["src"]} if "src" in told else {}
    )
    up_to, _ = service.answer(token, "files", {"of": "image@4", "offset": 0, "limit": 100_000})
    marked = dict(zip(paths(up_to), listed(up_to, "change"), strict=True))
    assert marked["junk/file"] == "D"
    assert marked["src/a.txt"] == "M"
    assert marked["src/sub/b.bin"] == ""
    layers, _ = service.answer(token, "layers", {})
    assert [layer["added"] for layer in layers["layers"]][1:] == [0, 4, 2, 0, 2]


@pytest.mark.parametrize(
    ("path", "kind"),
    [("src/a.txt", "text"), ("src/sub/b.bin", "binary"), ("data/table.csv", "csv"), ("data/picture.png", "image")],
)
def test_a_file_comes_with_what_it_is(service: Service, token: str, path: str, kind: str) -> None:
    for of in ("image", "output:2", "output:3"):
        told, (data,) = service.answer(token, "file", {"of": of, "path": path, "offset": 2, "limit": 4})
        assert told["kind"] == kind or kind in ("image", "binary")
        whole, (all_of_it,) = service.answer(token, "file", {"of": of, "path": path})
        assert whole["kind"] == kind
        assert whole["size"] == len(all_of_it)
        assert data == all_of_it[2:6]


def test_documents_are_the_image_s_own_and_verified(service: Service, token: str, built: BuildResult) -> None:
    assert built.image is not None
    text, _ = service.answer(token, "blob", {"digest": built.image.id})
    assert json.loads(text["text"]) == built.image.config
    assert not text["truncated"]
    with pytest.raises(BuildError, match="not a document of this image"):
        service.answer(token, "blob", {"digest": built.image.layers[0].digest})


def test_outputs_are_downloaded_in_chunks_and_a_directory_as_a_tar(
    service: Service, token: str, built: BuildResult
) -> None:
    def fetch(**params: Any) -> tuple[str, bytes]:
        data, name, size, versions = b"", "", 1, set[str]()
        while len(data) < size:
            told, (chunk,) = service.answer(token, "download", {"offset": len(data), **params})
            name, size = told["name"], told["size"]
            versions.add(told["version"])
            data += chunk
            assert len(chunk) <= CHUNK
        assert len(versions) == 1
        return name, data

    archive = built.paths[1]
    assert archive is not None
    assert fetch(of="output:1") == ("image.tar", archive.read_bytes())
    name, data = fetch(of="output:2")
    assert name == "files.tar"
    with tarfile.open(fileobj=BytesIO(data)) as tar:
        assert "files/src/a.txt" in tar.getnames()
    assert fetch(of="image", path="src/sub/b.bin") == ("b.bin", FILES["sub/b.bin"])


def test_logs_are_told_line_by_line(service: Service, token: str, built: BuildResult) -> None:
    step = next(step for step in built.vertexes if "cat a.txt" in step.name)
    assert service.answer(token, "log", {"vertex": step.digest, "offset": 0, "limit": 9})[0] == {
        "lines": ["first"],
        "seconds": [pytest.approx(0, abs=60)],
        "total": 1,
    }


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("file", {"of": "image", "path": "../../../../etc/shadow"}),
        ("file", {"of": "image", "path": "src"}),
        ("file", {"of": "image", "path": 7}),
        ("file", {"of": "output:99", "path": "a"}),
        ("file", {"of": "layer:sha256:" + "0" * 64, "path": "a"}),
        ("files", {"of": "image@99"}),
        ("files", {"of": "image", "platform": "plan9/mips"}),
        ("files", {"of": "image", "offset": -1}),
        ("download", {"of": "output:0", "offset": 0}),
        ("download", {"of": "output:-1", "offset": 0}),
        ("blob", {"digest": "sha256:../../x"}),
        ("_read", {}),
        ("contents", {}),
        ("log", None),
    ],
)
def test_hostile_questions_are_refused(service: Service, token: str, method: str, params: Any) -> None:
    with pytest.raises(BuildError):
        service.answer(token, method, params)


def test_a_link_in_an_image_leads_to_a_file_of_the_image(service: Service, built: BuildResult) -> None:
    """Never to one of this machine."""
    import pybuild_magic

    result = pybuild_magic.build(
        "FROM busybox\nRUN ln -s /etc/passwd /up && echo inside > /etc/passwd\n", "-", tags="x", progress="none"
    )
    assert result._contents is not None
    _, (data,) = service.answer(service.offer(result._contents), "file", {"of": "image", "path": "up"})
    assert data == b"inside\n"


def test_an_unknown_token_is_told_so_and_every_request_is_answered(service: Service, token: str) -> None:
    replies: queue.Queue[dict[str, Any]] = queue.Queue()
    requests: list[Any] = [
        {"id": "a", "token": "nobody's", "method": "files", "params": {"of": "image"}},
        {"id": "b", "token": token, "method": "files", "params": {"of": "image", "limit": 1}},
        {"id": {"x": 1}, "token": token, "method": ["files"], "params": 3},
        "nonsense",
        {"id": "c", "token": token, "method": "file", "params": {"of": "image", "path": "\0"}},
    ]
    for request in requests:
        service.handle(request, lambda reply, buffers: replies.put(reply))
    answers = {str(reply["id"]): reply for reply in (replies.get(timeout=20) for _ in requests)}
    assert "Run its cell again" in answers["a"]["error"]
    assert answers["b"]["result"]["total"] > 100
    assert "error" in answers["c"]
    assert "error" in answers["None"]


def test_a_comm_carries_the_protocol(service: Service, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pybuild_magic.display import service as module

    monkeypatch.setattr(module, "_service", service)
    sent: queue.Queue[Any] = queue.Queue()

    class Comm:
        def on_msg(self, callback: Any) -> None:
            self.callback = callback

        def send(self, data: Any, buffers: Any) -> None:
            sent.put(data)

    comm = Comm()
    connect(comm, {"content": {"data": {}}})
    comm.callback({"content": {"data": {"id": 1, "token": token, "method": "layers", "params": {}}}})
    assert len(sent.get(timeout=20)["result"]["layers"]) == 6


def test_the_panel_lists_opens_and_compares(
    service: Service, token: str, built: BuildResult, busybox_layout: BaseImage
) -> None:
    images, _ = service.answer(None, "images", {})
    assert "looked-at:latest" in [image["name"] for image in images["images"]]
    opened, _ = service.answer(None, "open", {"ref": "looked-at"})
    assert service.answer(opened["fetch"], "files", {"of": "image", "limit": 1})[0]["total"] > 100
    archive, _ = service.answer(None, "open_archive", {"path": str(built.paths[1])}, service.key)
    assert archive["image"]["digest"] == built.image.digest
    assert service.answer(archive["fetch"], "file", {"of": "image", "path": "src/a.txt"})[1] == [b"changed\n"]
    layout, _ = service.answer(None, "open_archive", {"path": str(busybox_layout.path)}, service.key)
    compared, _ = service.answer(None, "compare", {"a": layout["fetch"], "b": token})
    assert ["A", "src/a.txt", 8, None, "0"] in compared["files"]
    history, _ = service.answer(None, "history", {})
    assert history["builds"][0]["status"] == "completed"
    assert service.answer(None, "du", {})[0]["total"] > 0
    for method, params in (
        ("open", {"ref": "nothing"}),
        ("open_archive", {"path": "/etc/passwd"}),
        ("open_archive", {}),
    ):
        with pytest.raises(BuildError):
            service.answer(None, method, params, service.key)


def test_a_daemon_s_outputs_are_looked_at_on_the_disk(service: Service, built: BuildResult, home: Path) -> None:
    """Nothing of the build is in the store: the directory and the tar are all there is."""
    assert built._contents is not None
    outputs = [(Output("local", dest="files"), built.paths[2]), (Output("tar", dest="t.tar"), built.paths[3])]
    token = service.offer(Contents(built._contents.store, None, outputs))
    for of in ("output:0", "output:1"):
        listing, _ = service.answer(token, "files", {"of": of, "limit": 100_000})
        assert "src/sub/b.bin" in paths(listing)
        assert service.answer(token, "file", {"of": of, "path": "src/sub/b.bin"})[1] == [FILES["sub/b.bin"]]
    (home / "out" / "secret").write_text("secret")
    (home / "out" / "files" / "link").symlink_to("/etc")
    (home / "out" / "files" / "file").symlink_to("../secret")
    for path in ("../secret", "/etc/passwd", "link/passwd", "file", "link", "src", "", "src/../../secret", "\0"):
        for of in ("output:0", "output:1"):
            with pytest.raises((BuildError, ValueError)):
                service.answer(token, "file", {"of": of, "path": path} if path else {"of": of, "path": "."})
    with pytest.raises(BuildError):
        service.answer(token, "files", {"of": "image"})


def test_paths_that_are_no_text_are_shown_and_found(service: Service, built: BuildResult) -> None:
    entry = Entry("d/\udcff\udcfe", size=3)
    assert paths({"columns": columns_of([("", entry)])}) == ["d/\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"]


def test_the_document_of_a_build_has_the_token(built: BuildResult) -> None:
    assert bound(built.summary).fetch == ""


def test_a_page_asks_a_real_kernel_over_a_comm(home: Path, built: BuildResult) -> None:
    """The target is there once the extension is loaded, and what a cell shows has the token."""
    with run_kernel() as kernel:
        cell = (
            "%load_ext pybuild_magic\nimport pybuild_magic\n"
            + f"result = pybuild_magic.build({BUILD!r}, '-', tags='k')"
        )
        shown: list[Any] = []
        answer = kernel.execute_interactive(cell, timeout=60, output_hook=shown.append)
        assert answer["content"]["status"] == "ok", answer
        kernel.execute_interactive("result", timeout=60, output_hook=shown.append)
        data = next(one["content"]["data"] for one in shown if MIME_TYPE in one["content"].get("data", {}))
        token = data[MIME_TYPE]["fetch"]
        assert token
        opened = kernel.session.msg("comm_open", {"comm_id": "c", "target_name": "pybuild_magic", "data": {}})
        kernel.shell_channel.send(opened)
        question = {"id": 7, "token": token, "method": "file", "params": {"of": "image", "path": "hello"}}
        kernel.shell_channel.send(kernel.session.msg("comm_msg", {"comm_id": "c", "data": question}))
        while (message := kernel.get_iopub_msg(timeout=60))["header"]["msg_type"] != "comm_msg":
            pass
        assert message["content"]["data"]["id"] == 7
        assert message["content"]["data"]["result"]["size"] == 3
        assert [bytes(buffer) for buffer in message["buffers"]] == [b"hi\n"]


def test_the_explorer_is_a_widget_of_the_same_protocol(built: BuildResult) -> None:
    view = built.explore()
    sent: queue.Queue[Any] = queue.Queue()
    view.send = lambda content, buffers=None: sent.put((content, buffers))
    question = {
        "id": "q",
        "token": view.summary["fetch"],
        "method": "file",
        "params": {"of": "image", "path": "numbers"},
    }
    view._handle_custom_msg(question, [])
    content, buffers = sent.get(timeout=20)
    assert content["result"]["kind"] == "text"
    assert buffers[0].startswith(b"1\n2\n")
    assert view.summary["image"]["digest"] == built.summary.image.digest  # type: ignore[union-attr]
    assert "looked-at" in view._repr_mimebundle_()[0]["text/plain"]


def test_only_the_results_that_are_looked_at_keep_their_listings(built: BuildResult) -> None:
    service = Service()
    assert built._contents is not None
    tokens = [service.offer(built._contents) for _ in range(12)]
    for token in tokens:
        service.answer(token, "files", {"of": "image", "limit": 1})
    kept = [token for token in tokens if service._offers[token]._listings]
    assert kept == tokens[-5:]
    assert service.answer(tokens[0], "files", {"of": "image", "limit": 1})[0]["total"] > 100


def test_of_a_long_log_every_line_is_told(home: Path, built: BuildResult) -> None:
    """Also those that are not kept in memory: they are in the store's history."""
    import pybuild_magic

    result = pybuild_magic.build("FROM busybox\nRUN seq 12000\n", "-", progress="none")
    step = next(step for step in result.vertexes if "seq" in step.name)
    assert step.log_lines == 12000
    service = Service()
    assert result._contents is not None
    token = service.offer(result._contents, result._lines)
    told, _ = service.answer(token, "log", {"vertex": step.digest, "offset": 0, "limit": 3})
    assert told == {"lines": ["1", "2", "3"], "seconds": [pytest.approx(0, abs=60)] * 3, "total": 12000}
    assert service.answer(token, "log", {"vertex": step.digest, "offset": 11999, "limit": 3})[0]["lines"] == ["12000"]
