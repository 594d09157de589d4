"""Which requests the attribution service reads: length, key, scope and rate are checked before any of the body."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import HTTPException, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from royalty.infra.attribution.keys import Key, KeyFile, RateLimit
from royalty.infra.attribution.keys import Scope as Permission

BEARER = HTTPBearer(auto_error=False, description="A key, printed once by `royalty keys add`.")
"""How a key is sent, for the description of the interface; `Gate` checks it."""

UNREAD = {"Connection": "close"}
"""The rest of a body that was not read is not the next request."""


class BodyLimit:
    """Refuses a request whose body is longer than a limit: by the length that it states, before any of it is read, or
    else as soon as more than the limit has arrived."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        stated = Headers(scope=scope).get("content-length", "0")
        if not stated.isdecimal() or int(stated) > self.most:
            return await JSONResponse({"detail": self._detail}, 413, UNREAD)(scope, receive, send)
        arrived = 0

        async def counted() -> Message:
            nonlocal arrived
            message = await receive()
            arrived += len(message.get("body", b""))
            if arrived > self.most:
                raise HTTPException(413, self._detail, UNREAD)
            return message

        return await self.app(scope, counted, send)

    @property
    def _detail(self) -> str:
        return f"a request has at most {self.most:,} bytes, and this one has more; send a smaller image"


@dataclass(frozen=True)
class Gate:
    """Whose requests are answered, and how many of them."""

    keys: KeyFile
    limit: RateLimit

    def check(self, authorization: str, scope: Permission) -> Key:
        """The key of a request; takes one request of its rate.

        Raises:
            HTTPException: there is no such key, it has not the scope, or its rate is used up.
        """
        kind, _, secret = authorization.partition(" ")
        key = self.keys.find(secret.strip()) if kind.lower() == "bearer" else None
        if key is None:
            raise HTTPException(
                401, "a request needs a key, in `Authorization: Bearer KEY`", {"WWW-Authenticate": "Bearer", **UNREAD}
            )
        if not key.may(scope):
            raise HTTPException(
                403, f"this needs a key with the scope `{scope}`; this one has {', '.join(key.scopes)}", UNREAD
            )
        if (seconds := self.limit.wait(key)) > 0:
            raise HTTPException(
                429,
                f"this key has {key.rate:g} requests a second; try again in {seconds:.3g} s",
                {"Retry-After": str(max(1, round(seconds))), **UNREAD},
            )
        return key


@dataclass(frozen=True)
class Permitted:
    """A dependency of routes of `KeyedRoute`: the key of a request, which has a scope."""

    scope: Permission

    def admit(self, request: Request) -> None:
        """Check the key of a request, and keep it for the dependency."""
        gate: Gate = request.app.state.gate
        request.state.key = gate.check(request.headers.get("authorization", ""), self.scope)

    def __call__(self, request: Request, _: Annotated[Any, Security(BEARER)]) -> Key:
        key: Key = request.state.key
        return key


class KeyedRoute(APIRoute):
    """A route that checks keys before it reads the body; FastAPI alone resolves dependencies after it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        permissions = [found.call for found in self.dependant.dependencies if isinstance(found.call, Permitted)]

        async def admitted(request: Request) -> Response:
            for permission in permissions:
                permission.admit(request)
            return await answer(request)

        return admitted
