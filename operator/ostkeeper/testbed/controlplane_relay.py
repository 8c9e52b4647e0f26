"""A way into a network namespace: accept on an inherited socket, connect from where this process stands.

Run as `nsenter -t SWITCH -n -- python -I -S controlplane_relay.py FD ADDRESS PORT`: the listening socket FD was opened
in the parent's namespace and stays there, connections go out from the switch's. Bytes are carried, never looked at.
Not here: anything of ostkeeper; `-I -S` keeps it at a few MB.
"""

import asyncio
import contextlib
import socket
import sys


async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy one direction until its end, and pass the end on; a reset on either side ends it too."""
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.write_eof()


async def serve(listener: socket.socket, address: str, port: int) -> None:
    """Carry every connection that `listener` accepts to address:port, until killed."""

    async def join(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            server, to_server = await asyncio.open_connection(address, port)
        except OSError:  # the server is down: the client sees a closed connection, as it would without us
            to_client.transport.abort()
            return
        directions = [asyncio.create_task(carry(client, to_server)), asyncio.create_task(carry(server, to_client))]
        # A server that closed first is done with us; a client that half-closed may still read its answer.
        await directions[1]
        directions[0].cancel()
        to_server.transport.abort()
        to_client.close()

    relay = await asyncio.start_server(join, sock=listener)
    await relay.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], int(sys.argv[3])))
