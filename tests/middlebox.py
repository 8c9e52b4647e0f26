"""A TCP middlebox that forgets its connections, as a load balancer or a NAT does. For tests of half-open connections."""

import asyncio
from contextlib import suppress


class Middlebox:
    """Carries TCP connections. `forget` drops everything that is sent over those there are, and tells neither side."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._forgotten = 0
        self.accepted = 0
        self.url = ""

    def forget(self) -> None:
        self._forgotten = self.accepted

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        number = self.accepted
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)

        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await source.read(65536):
                    if number > self._forgotten:
                        sink.write(data)
            if number > self._forgotten:
                sink.close()

        await asyncio.gather(carry(reader, up_writer), carry(up_reader, writer))
