"""Whatever a page says to the kernel, it gets one bounded answer, in words; and nothing changes without the key."""

from __future__ import annotations

import json
import queue
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jupyter_client.manager import run_kernel

from pybuild_magic.builders import embedded_builder
from pybuild_magic.display import panel
from pybuild_magic.display import service as protocol
from pybuild_magic.display.service import NeedsKeyError, Service, connect, data_of
from pybuild_magic.display.widget import LiveView, _hear_channel
from pybuild_magic.result import BuildResult

SETTINGS = settings(
    derandomize=True, deadline=None, max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
METHODS = ["known", *sorted(panel.METHODS), *sorted(protocol._METHODS)]
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            *("image", "image@2", "image@9999999", "output:0", "output:2", "output:-1", "output:99", "layer:sha256:0"),
            *("src/a.txt", "/", "..", "\0", "\udcff", "a" * 10_000, "looked-at", "linux/amd64", "sha256:" + "0" * 64),
            *("%%build\nFROM x", "%%build " + "-" * 500, "~nobody-such/x", "/dev/null", "/proc/self/mem", "::"),
        ]
    ),
)
NUMBERS = st.one_of(st.integers(), st.sampled_from([-1, 0, 1, 2**31, 2**63, 10**30]), st.floats())
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["of", "path", "offset", "limit", "platform", "digest", "vertex", "ref", "a", "b", "cell", "until", "keep_storage"]
)
TREES = st.sampled_from(["image", "image@2", "output:0", "output:1", "output:2", "output:3", "layer:sha256:0"])
LIKELY = st.fixed_dictionaries(
    {"of": st.one_of(TREES, TEXTS), "path": TEXTS, "ref": TEXTS, "a": TEXTS, "b": TEXTS, "cell": TEXTS},
    optional={"offset": NUMBERS, "limit": NUMBERS, "platform": TEXTS, "digest": TEXTS, "vertex": TEXTS},
)
"""What comes as far as the methods themselves."""


@pytest.fixture(scope="module")
def service() -> Service:
    return Service()


@pytest.fixture(scope="module")
def token(service: Service, built: BuildResult) -> str:
    assert built._contents is not None
    return service.offer(built._contents, built._lines)


@SETTINGS
@given(data=st.data())
def test_every_question_gets_one_answer_in_words(service: Service, token: str, home: Path, data: st.DataObject) -> None:
    asked = data.draw(
        st.one_of(
            JSON,
            st.fixed_dictionaries(
                {
                    "id": st.one_of(st.integers(), JSON),
                    "key": st.sampled_from([service.key, None]),
                    "token": st.one_of(st.just(token), st.just(token), JSON),
                    "method": st.one_of(st.sampled_from(METHODS), st.sampled_from(METHODS), JSON),
                    "params": st.one_of(
                        LIKELY, LIKELY, st.dictionaries(NAMES, st.one_of(TEXTS, NUMBERS, JSON), max_size=4), JSON
                    ),
                }
            ),
        )
    )
    if isinstance(asked, dict) and asked.get("method") == "remove":
        asked.pop("key", None)  # the image is for the other tests
    replies: list[tuple[dict[str, Any], list[bytes]]] = []
    service._respond(asked, lambda reply, buffers: replies.append((reply, buffers)))
    ((reply, buffers),) = replies
    assert ("result" in reply) != ("error" in reply)
    # A sentence that is meant, and not what is left of a program's own error.
    assert not str(reply.get("error", "")).startswith("The kernel could not answer"), (asked, reply)
    assert len(json.dumps(reply, default=str)) + sum(map(len, buffers)) < 32 << 20


@SETTINGS
@given(message=JSON, content=JSON)
def test_messages_of_comms_are_read_whatever_they_are(message: Any, content: Any) -> None:
    for one in (message, {"content": message}, {"content": {"data": content}}):
        if isinstance(one, dict):
            assert isinstance(data_of(one), dict)
            _hear_channel(type("Comm", (), {"close": lambda self: None})(), one)
    LiveView._hear(LiveView.__new__(LiveView), None, message if message != {"method": "cancel"} else None, None)


def test_what_removes_or_opens_needs_the_kernels_key(service: Service, token: str, built: BuildResult) -> None:
    archive = {"path": str(built.paths[1])}
    for key in (None, "", token, "x" * 32, 7, [], "\udcff"):
        for method, params in (("prune", {"all": True}), ("remove", {"ref": "looked-at"}), ("open_archive", archive)):
            with pytest.raises(NeedsKeyError):
                service.answer(token, method, params, key)
    assert embedded_builder().store.images.get("docker.io/library/looked-at:latest") is not None
    assert set(service.answer(None, "prune", {"until": 10**9}, service.key)[0]) == {"reclaimed", "records"}
    assert service.answer(None, "open_archive", archive, service.key)[0]["image"]
    replies: queue.Queue[Any] = queue.Queue()
    service.handle({"id": 1, "method": "prune"}, lambda reply, _: replies.put(reply))
    reply = replies.get(timeout=20)
    assert reply["guarded"] is True and service.key not in json.dumps(reply)


def test_no_message_of_a_comm_or_a_widget_tells_the_key(home: Path, built: BuildResult) -> None:
    """Of all that a kernel sends to every page, nothing has the key; who runs code gets it, for itself alone."""
    expression = "__import__('pybuild_magic.display.service', fromlist=['service']).service().key"
    with run_kernel() as kernel:
        said: list[Any] = []
        kernel.execute_interactive("%load_ext pybuild_magic", timeout=60, output_hook=said.append)
        answer = kernel.execute_interactive(
            "", silent=True, store_history=False, user_expressions={"key": expression}, timeout=60
        )
        key = answer["content"]["user_expressions"]["key"]["data"]["text/plain"].strip("'")
        assert len(key) == 32
        kernel.shell_channel.send(
            kernel.session.msg("comm_open", {"comm_id": "c", "target_name": "pybuild_magic", "data": {}})
        )
        for number, more in enumerate(({}, {"key": "wrong"}, {"key": key})):
            question = {"id": number, "method": "prune", "params": {"until": 10**9}, **more}
            kernel.shell_channel.send(kernel.session.msg("comm_msg", {"comm_id": "c", "data": question}))
        replies: dict[int, Any] = {}
        while len(replies) < 3:
            message = kernel.get_iopub_msg(timeout=60)
            assert key not in json.dumps(message["content"], default=str)
            if message["header"]["msg_type"] == "comm_msg":
                replies[message["content"]["data"]["id"]] = message["content"]["data"]
        assert [("guarded" in replies[number]) for number in range(3)] == [True, True, False]
        assert replies[2]["result"]["records"] == 0


def test_a_comm_survives_what_it_is_sent(service: Service) -> None:
    class Comm:
        def on_msg(self, callback: Any) -> None:
            self.callback = callback

        def send(self, **_: Any) -> None:
            pass

    comm = Comm()
    connect(comm, {"content": None})
    for message in ({}, {"content": []}, {"content": {"data": [1]}}, {"content": {"data": "prune"}}):
        comm.callback(message)
