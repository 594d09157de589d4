"""Prefect's server, restricted to its own pages and to programs that use one of the allowed host names.

    python -m royalty.infra.servers.guard --host 127.0.0.1 --port 4200 --allowed-hosts 127.0.0.1:4200,localhost:4200

`prefect server start` answers any website that the user visits: by a cross-origin request, a WebSocket, or a host name
that resolves to this machine (DNS rebinding). Prefect has a setting for the origins that may read its answers, but none
for WebSockets and host names.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from royalty.infra.processes.importing import collection_paused


class Guard:
    """Rejects requests and WebSockets with another host name, or from the page of another site.

    Its own pages may request data only from this server: Prefect's pages would otherwise send telemetry, whatever the
    server's settings. Other pages may not frame them.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app = app
        self.hosts = frozenset(hosts)
        self.origins = frozenset(f"http://{host}" for host in hosts)
        sources = " ".join(f"http://{host} ws://{host}" for host in sorted(hosts))
        self.policy = f"connect-src {sources}; frame-ancestors 'none'"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        if (host := headers.get("host", "")) not in self.hosts:
            refusal = f"this server answers only to {', '.join(sorted(self.hosts))}, got {host!r}"
        elif (origin := headers.get("origin")) is not None and origin not in self.origins:
            refusal = f"this server answers only to its own pages, got a request from {origin!r}"
        else:
            return await self.app(scope, receive, self._with_policy(send))
        return await PlainTextResponse(refusal, status_code=403)(scope, receive, send)

    def _with_policy(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = self.policy
            await send(message)

        return sending


def main() -> None:
    """Serve until the process is ended, with the uvicorn settings of `prefect server start`."""
    parser = argparse.ArgumentParser(prog="python -m royalty.infra.servers.guard")
    parser.add_argument("--host", required=True, help="address to listen on")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument(
        "--allowed-hosts", required=True, help="allowed values of the `Host` header, with ports, separated by commas"
    )
    options = parser.parse_args()
    with collection_paused():
        import uvicorn  # imported after parsing: with Prefect it takes seconds
        from prefect.server.api.server import create_app
        from prefect.settings import get_current_settings

        gc.freeze()  # `create_app` searches all that was imported for garbage
        app = create_app(final=True)
        gc.freeze()
    server = get_current_settings().server
    uvicorn.run(
        Guard(app, options.allowed_hosts.split(",")),
        host=options.host,
        port=options.port,
        timeout_keep_alive=server.api.keepalive_timeout,
        ws_ping_interval=server.api.websocket_ping_interval,
        ws_ping_timeout=server.api.websocket_ping_timeout,
        log_level=server.logging_level.lower(),
    )


if __name__ == "__main__":
    main()
