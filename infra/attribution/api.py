"""The HTTP interface of the attribution service: documents, checks, limits and metrics; it knows no method."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator
from starlette.types import ASGIApp

from royalty.infra.attribution.admission import BodyLimit, Gate, KeyedRoute, Permitted
from royalty.infra.attribution.keys import Key, KeyFile, RateLimit
from royalty.infra.attribution.usage_log import By, Logged, OtherBody, UsageLog, identity_of, same
from royalty.infra.servers.guard import Guard
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.stores.keys import digest_of

BODY = 16 * 2**20
"""Most bytes of a request."""

DAY = r"^\d{4}-\d{2}-\d{2}$"

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

Name = Annotated[str, Field(min_length=1, max_length=128)]


class AttributionRequest(BaseModel):
    """A generated image, as base64 of its file, or its embedding; and what the caller knows of it.

    Attributes:
        id: the caller's own id of this generation. The same id with the same data gives the same answer again.
        model, version: the model that generated it; an index of its training images is served.
        prompt, seed: what it was generated from.
        time: when, with a time zone.
        image: base64 of an image file.
        embedding: numbers of the encoder that `encoder` names, in place of the image.
        revenue: what the generation earned, a decimal number, for payment by use.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Name
    model: Name
    version: Name = "1"
    prompt: Annotated[str, Field(max_length=10_000)] = ""
    seed: int | None = None
    time: AwareDatetime
    image: str | None = None
    embedding: Annotated[list[float], Field(max_length=65_536)] | None = None
    encoder: str | None = None
    revenue: Annotated[Decimal, Field(ge=0, max_digits=18, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _image_or_embedding(self) -> AttributionRequest:
        if (self.image is None) == (self.embedding is None):
            raise ValueError("give an `image` or an `embedding`, and not both")
        if (self.embedding is None) != (self.encoder is None):
            raise ValueError("an `embedding` needs the name of its `encoder`, and an `image` needs none")
        return self

    @field_validator("time")
    @classmethod
    def _of_a_year(cls, time: datetime) -> datetime:
        if not 1 < time.year < 9999:  # in another time zone it might be of no year
            raise ValueError("a `time` is of the years 2 to 9998")
        return time

    @property
    def at(self) -> str:
        return self.time.astimezone(UTC).isoformat()

    @property
    def digest(self) -> str:
        return digest_of(self.model_dump(mode="json"))


class ItemShare(BaseModel):
    """A training image behind a generated one.

    Attributes:
        share: in (0, 1]; all shares of a generated image sum to 1.
        distance: of the directions of the embeddings, in [0, 2].
        license, file_name, date, contributors: as the source states them.
        source: the set of the image and its row there.
        author, creator: who made it, by the set and by its Content Credentials.
        training_mining, license_terms, consent, consent_date, obtained_from: as the source states them, where it does.
        copies: near copies of it in the index, which share its place; it is the earliest of them.
    """

    id: str
    share: float
    distance: float
    contributors: list[str]
    license: str
    file_name: str
    date: str = ""
    copies: int = 0
    source: str | None = None
    author: str | None = None
    creator: str | None = None
    training_mining: str | None = None
    license_terms: str | None = None
    consent: str | None = None
    consent_date: str | None = None
    obtained_from: str | None = None


class AttributionAnswer(BaseModel):
    """Who stands behind a generated image.

    Attributes:
        attribution: id of this attribution.
        id: the caller's id.
        attributable: whether any training image is near enough; otherwise there are no shares.
        contributors: shares by name, highest first; their sum is 1, or 0 if the image is not attributable.
        items: training images with at least 0.1% of the generated image, highest share first.
        others: the share of the training images that are not listed.
        effective_items: effective number of training images that share it.
        temperature: that of the shares, in units of the distance; of attributions logged by earlier versions, None.
        nearest: distance of the nearest training image.
        memorization_p_value: probability that an image which was not trained on is as close to a training image,
            compared with the next ones; a small one says that this image is a copy.
        index: the index that was searched.
    """

    attribution: str
    id: str
    model: str
    version: str
    attributable: bool
    contributors: dict[str, float]
    items: list[ItemShare]
    others: float
    effective_items: float
    temperature: float | None = None
    nearest: float
    memorization_p_value: float
    index: str


class Total(BaseModel):
    """Use of a group: the number of generations, and the sum of their shares."""

    group: str
    generations: int
    share: float


class Problem(BaseModel):
    """An error: the rule, what was received, and what to do."""

    detail: str


class Refused(ValueError):
    """A request that the service understands and refuses, with the HTTP status that says how."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


Attribute = Callable[[AttributionRequest], AttributionAnswer]
"""Attributes an image. Raises `Refused`."""


@dataclass(frozen=True)
class SignedImage:
    """An image file with its attribution in a manifest, and its media type."""

    payload: bytes
    kind: str


Sign = Callable[[AttributionRequest, Mapping[str, Any]], SignedImage]
"""Signs the image of a request with an answer, as JSON. Raises `Refused`."""


class Metrics:
    """What Prometheus collects."""

    def __init__(self, sizes: Callable[[], dict[tuple[str, str], int]]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "royalty_requests", "Requests by route and status.", ("route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "royalty_request_seconds", "Seconds of requests.", ("route",), buckets=SECONDS, registry=self.registry
        )
        self.attributions = Counter(
            "royalty_attributions", "Attributions that were logged.", ("model", "outcome"), registry=self.registry
        )
        self.items = Gauge("royalty_index_items", "Items of an index.", ("model", "version"), registry=self.registry)
        self.sizes = sizes

    def count(self, logged: Logged, replayed: bool) -> None:
        """Count an attribution once."""
        if not replayed:
            outcome = "attributed" if logged.answer["attributable"] else "unattributable"
            self.attributions.labels(logged.model, outcome).inc()

    def text(self) -> bytes:
        for (model, version), items in self.sizes().items():
            self.items.labels(model, version).set(items)
        return generate_latest(self.registry)


Attributing = Annotated[Key, Depends(Permitted("attribute"))]
Signing = Annotated[Key, Depends(Permitted("sign"))]
Reading = Annotated[Key, Depends(Permitted("read"))]
Measuring = Annotated[Key, Depends(Permitted("metrics"))]


def recorded(
    log: UsageLog,
    client: str,
    request: AttributionRequest,
    attribute: Attribute,
    before: Callable[[Mapping[str, Any]], None] | None = None,
) -> tuple[Logged, bool]:
    """Attribute an image and write it to the log, or find it there.

    Args:
        before: called with an answer that is about to be logged; if it raises, nothing is.

    Returns:
        What is in the log, and whether it was there before.

    Raises:
        OtherBody: the caller's id belongs to another request.
        Refused: the request cannot be attributed; nothing is logged.
        StoreError: the log cannot be written; nothing is logged.
    """
    known = log.find(client, request.id)
    if known is not None:
        return same(known, request.digest), True
    found = attribute(request).model_copy(update={"attribution": identity_of(client, request.id)})
    answer = found.model_dump(mode="json", exclude_none=True)
    if before is not None:
        before(answer)
    logged = log.append(
        client=client,
        caller=request.id,
        body=request.digest,
        at=request.at,
        model=request.model,
        version=request.version,
        prompt=request.prompt,
        revenue=None if request.revenue is None else f"{request.revenue:f}",
        answer=answer,
    )
    return logged, False


def create_app(
    attribute: Attribute,
    log: UsageLog,
    keys: KeyFile,
    *,
    hosts: Collection[str],
    sizes: Callable[[], dict[tuple[str, str], int]],
    most: int = BODY,
    limit: RateLimit | None = None,
    sign: Sign | None = None,
) -> ASGIApp:
    """The service.

    Args:
        hosts: allowed values of the `Host` header.
        sizes: items of the served indexes, by model and version.
        most: most bytes of a request.
        sign: signs images; None: the service has no key to sign with.
    """
    app = FastAPI(
        title="Royalty attribution",
        version="1",
        description="Which training images and contributors stand behind a generated image.",
        docs_url=None,  # these pages load scripts from another host
        redoc_url=None,
        responses={code: {"model": Problem} for code in (400, 401, 403, 404, 409, 413, 429, 503)},
    )
    metrics = Metrics(sizes)

    app.state.gate = Gate(keys, limit or RateLimit())
    app.router.route_class = KeyedRoute
    app.add_middleware(BodyLimit, most=most)

    @app.post("/v1/attributions", response_model_exclude_none=True)
    def attribute_image(request: AttributionRequest, response: Response, key: Attributing) -> AttributionAnswer:
        """Attribute a generated image; it is in the log, on disk, before it is answered."""
        logged, replayed = recorded(log, key.name, request, attribute)
        response.headers["Idempotent-Replayed"] = str(replayed).lower()
        metrics.count(logged, replayed)
        return AttributionAnswer.model_validate(logged.answer)

    @app.post("/v1/signed-images", response_class=Response, responses={200: {"content": {"image/*": {}}}})
    def sign_image(request: AttributionRequest, key: Signing) -> Response:
        """Attribute a generated image as `/v1/attributions` does, and return the file with its attribution in a signed
        manifest (C2PA). The header `Attribution` has the id of the attribution."""
        if sign is None:
            raise Refused(404, "this service has no key to sign with; start it with `--key` and `--certificate`")
        made: dict[str, SignedImage] = {}

        def try_(answer: Mapping[str, Any]) -> None:
            made[digest_of(answer)] = sign(request, answer)

        logged, replayed = recorded(log, key.name, request, attribute, try_)
        metrics.count(logged, replayed)
        image = made.get(digest_of(logged.answer)) or sign(request, logged.answer)
        headers = {"Attribution": logged.id, "Idempotent-Replayed": str(replayed).lower()}
        return Response(image.payload, media_type=image.kind, headers=headers)

    @app.get("/v1/attributions/{attribution}", response_model_exclude_none=True)
    def read_attribution(attribution: str, key: Reading) -> AttributionAnswer:
        """An attribution that was logged before."""
        logged = log.get(attribution)
        if logged is None or not (logged.client == key.name or key.may("audit")):  # those of others are not there
            raise Refused(404, f"no attribution has the id {attribution!r}; ids are those of the field `attribution`")
        return AttributionAnswer.model_validate(logged.answer)

    @app.get("/v1/totals")
    def read_totals(
        key: Reading,
        by: By = "contributor",
        begin: Annotated[
            str, Query(alias="from", description="first day, such as 2026-05-01", pattern=DAY)
        ] = "0001-01-01",
        end: Annotated[str, Query(alias="to", description="the day after the last", pattern=DAY)] = "9999-12-31",
        model: str | None = None,
    ) -> list[Total]:
        """Generations and shares by contributor, prompt, model, month of a time or client, highest first: of this
        client, or of all clients for a key with the scope `audit`."""
        client = None if key.may("audit") else key.name
        rows = log.totals(by, begin=begin, end=end, model=model, client=client)
        return [Total(group=row[by], generations=row["generations"], share=row["share"]) for row in rows]

    @app.get("/metrics", response_class=Response)
    def read_metrics(key: Measuring) -> Response:
        """Metrics in the text format of Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/health")
    def read_health() -> dict[str, str]:
        """Whether the service answers."""
        return {"status": "ok"}

    @app.middleware("http")
    async def measured(request: Request, call: Callable[[Request], Any]) -> Any:
        began = time.perf_counter()
        answer = await call(request)
        route = getattr(request.scope.get("route"), "path", "unknown")
        metrics.requests.labels(route, str(answer.status_code)).inc()
        metrics.seconds.labels(route).observe(time.perf_counter() - began)
        return answer

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return JSONResponse({"detail": error.detail}, error.status)

    @app.exception_handler(OtherBody)
    async def other_body(_: Request, error: OtherBody) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 409)

    @app.exception_handler(StoreError)
    async def unavailable(_: Request, error: StoreError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 503)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": "; ".join(_problems(error.errors()))}, 400)

    return Guard(app, hosts)


def _problems(errors: Sequence[Any]) -> list[str]:
    """What is wrong with a request, by field, without the value, which may be an image."""
    return [
        f"`{'.'.join(str(part) for part in error['loc'][1:])}`: {error['msg'].removeprefix('Value error, ')}".replace(
            "``: ", ""
        )
        for error in errors
    ]
