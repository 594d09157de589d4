"""Prefect's server, answering only its own pages and programs that address it by a name it was given.

    python -m royalty.infra.servers.guard --host 127.0.0.1 --port 4200 --allowed-hosts 127.0.0.1:4200,localhost:4200

`prefect server start` answers every website that the user visits: by a cross-origin request, a WebSocket, or a host
name that is made to lead to this machine (DNS rebinding). Prefect can be told what origins may read its answers, and
has no setting for the rest.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Guard:
    """Refuses requests and WebSockets that name another host, or come from another site's page.

    Its own pages may ask nobody else for data: Prefect's would send telemetry, whatever the settings of the server say.
    No other page may frame them.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app = app
        self.hosts = frozenset(hosts)
        self.origins = frozenset(f"http://{host}" for host in hosts)
        own = " ".join(f"http://{host} ws://{host}" for host in sorted(hosts))
        self.policy = f"connect-src {own}; frame-ancestors 'none'"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        if (host := headers.get("host", "")) not in self.hosts:
            refusal = f"this server answers to {', '.join(sorted(self.hosts))}, and not to {host!r}"
        elif (origin := headers.get("origin")) is not None and origin not in self.origins:
            refusal = f"this server answers to its own pages, and not to those of {origin!r}"
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
    """Serve until told to end, with what `prefect server start` gives uvicorn."""
    parser = argparse.ArgumentParser(prog="python -m royalty.infra.servers.guard")
    parser.add_argument("--host", required=True, help="address to listen on")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument(
        "--allowed-hosts", required=True, help="what `Host` may say, with the port; separated by commas"
    )
    given = parser.parse_args()
    import uvicorn  # takes seconds with Prefect, which a wrong argument need not wait for
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    server = get_current_settings().server
    uvicorn.run(
        Guard(create_app(final=True), given.allowed_hosts.split(",")),
        host=given.host,
        port=given.port,
        timeout_keep_alive=server.api.keepalive_timeout,
        ws_ping_interval=server.api.websocket_ping_interval,
        ws_ping_timeout=server.api.websocket_ping_timeout,
        log_level=server.logging_level.lower(),
    )


if __name__ == "__main__":
    main()
