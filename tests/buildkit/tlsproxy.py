"""A proxy in front of an engine: `python tlsproxy.py SOCKET grpc|engine LISTEN [CERT KEY CLIENT_CA]`.

With PROXY_STALLS_AT it passes nothing more on to the engine once that word has come.

With `grpc` it stands for a `buildkitd`: gRPC on one side, the engine's upgraded `POST /grpc` on the other. With
`engine` it is the engine itself that is elsewhere. It listens on the Unix socket LISTEN, or with certificates by
mTLS on a port of its own, which it prints when it is ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import sys

UPGRADE = b"POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stall: bytes = b"") -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 18):
            if stall and stall in data:
                await asyncio.Event().wait()
            writer.write(data)
            await writer.drain()
    writer.close()


def secure(cert: str, key: str, ca: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def main(path: str, kind: str, listen: str, *certificates: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine_reader, engine_writer = await asyncio.open_unix_connection(path)
        if kind == "grpc":
            engine_writer.write(UPGRADE)
            head = await engine_reader.readuntil(b"\r\n\r\n")
            assert b" 101 " in head, head
        stall = os.environ.get("PROXY_STALLS_AT", "").encode()
        await asyncio.gather(pump(reader, engine_writer, stall), pump(engine_reader, writer))

    if certificates:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=secure(*certificates))
        print(server.sockets[0].getsockname()[1], flush=True)
    else:
        server = await asyncio.start_unix_server(serve, listen)
        print(0, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
