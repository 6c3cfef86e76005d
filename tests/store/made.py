"""Layers and images that tests put into a store."""

from __future__ import annotations

import json

from pybuild_magic.oci.descriptor import Descriptor
from pybuild_magic.store import (
    Entry,
    Layer,
    Store,
    write_layer,
)

ZERO = "sha256:" + "0" * 64


def layer_of(store: Store, content: str, size: int = 0) -> Layer:
    data = content.encode().ljust(size, b".")
    return write_layer(store, [(Entry("f", size=len(data)), data)])


def image_of(store: Store, name: str, layer: Layer, compressed: str = "") -> Descriptor:
    config = store.blobs.put(json.dumps({"rootfs": {"diff_ids": [layer.diff_id]}, "config": {"Env": []}}).encode())
    layers = [{"digest": compressed or layer.diff_id}]
    manifest = json.dumps({"config": {"digest": config}, "layers": layers}).encode()
    index = json.dumps({"manifests": [{"digest": store.blobs.put(manifest)}]}).encode()
    descriptor = Descriptor("application/vnd.oci.image.index.v1+json", store.blobs.put(index), len(index))
    store.images.put(name, descriptor)
    return descriptor
