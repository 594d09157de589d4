"""What a run needs of this machine, looked at without a run: each finding passes, or says what to do."""

from __future__ import annotations

import base64
import os
import platform
import shutil
import sqlite3
import stat
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version
from sqlalchemy import func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session

from royalty.infra.ledger.ledger import Ledger
from royalty.infra.settings import Settings, cores, masked
from royalty.infra.stores import tables
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.stores.database import SCHEMA, open_database
from royalty.infra.stores.keys import code_commit
from royalty.infra.stores.weights import WeightsError, WeightsStore
from royalty.infra.workspace import FREE_SPACE

ANSWER_SECONDS = 10
DRIFT_SECONDS = 60
"""By which a server's clock may differ from this one, and this one go back."""
SHOWN = ("prefect", "mlflow", "torch", "diffusers", "sqlalchemy")
DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it will do, and what is there or what to do."""

    line: str
    passes: bool
    says: str


@dataclass(frozen=True)
class Answer:
    """Of a server: its text, and by how many seconds its clock is ahead of this one; None if it tells no time."""

    text: str
    ahead: float | None


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, one finding after the other."""
    yield versions()
    yield devices(settings)
    yield weights(settings)
    ahead: dict[str, float | None] = {}
    yield prefect(ahead)
    yield mlflow(settings, ahead)
    yield ledger(settings)
    yield disk(settings.root)
    yield permissions(settings)
    yield clock(settings, ahead)


def versions() -> Finding:
    """Whether each required package is there in a version that serves."""
    asked = [Requirement(text) for text in requires("royalty") or ()]
    wrong = [said for one in asked if one.marker is None or one.marker.evaluate({"extra": ""}) for said in _wrong(one)]
    if wrong:
        return Finding(
            "versions", False, f"{'; '.join(wrong)}. Install them: `make run` does, as requirements.lock says"
        )
    shown = ", ".join(f"{name} {version(name)}" for name in SHOWN)
    return Finding("versions", True, f"Python {platform.python_version()}, Royalty {code_commit()}, {shown}")


def _wrong(asked: Requirement) -> Iterator[str]:
    try:
        found = version(asked.name)
    except PackageNotFoundError:
        yield f"{asked} is required, and is not installed"
        return
    if not asked.specifier.contains(found, prereleases=True):
        yield f"{asked} is required, and {found} is installed"


def devices(settings: Settings) -> Finding:
    """What trains."""
    import torch  # takes seconds

    own = f"{cores()} core(s), {settings.workers} worker(s)"
    if torch.cuda.is_available():
        names = []
        for index in range(torch.cuda.device_count()):
            free, _ = torch.cuda.mem_get_info(index)
            names.append(f"{torch.cuda.get_device_name(index)} with {free / 2**30:.1f} GiB free")
        return Finding("devices", True, f"{own}; {', '.join(names)}")
    if DRIVER.exists() or shutil.which("nvidia-smi"):
        return Finding(
            "devices",
            False,
            f"an NVIDIA driver is here, and PyTorch {torch.__version__} finds no GPU by it; install a build of PyTorch "
            "for a CUDA version of this driver, and see that this user may open /dev/nvidia*",
        )
    return Finding("devices", True, f"{own}; no GPU")


def weights(settings: Settings) -> Finding:
    """Whether the weights that were fetched are still what was fetched."""
    root = settings.weights_root
    if settings.weights is not None and not root.is_dir():
        return Finding("weights", False, f"ROYALTY_WEIGHTS is {root}, which is no folder; make it, or set another")
    store = WeightsStore(root)
    try:
        here = [row.name for row in store.rows() if row.present]
        for name in here:
            store.locate(name)
    except WeightsError as changed:
        return Finding("weights", False, str(changed))
    return Finding("weights", True, f"embedded EfficientNet-Lite0; fetched: {', '.join(here) or 'none'}")


def prefect(ahead: dict[str, float | None]) -> Finding:
    """Whether the server that the environment names answers, and is not older than the client."""
    url, own = os.environ.get("PREFECT_API_URL", ""), version("prefect")
    if not url:
        return Finding("Prefect", True, f"none at PREFECT_API_URL; each run starts a server of its own, {own}")
    headers = {}
    if key := os.environ.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    elif user := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = _basic(user)
    try:
        said = _ask(f"{url.rstrip('/')}/admin/version", headers)
        theirs = Version(said.text.strip().strip('"'))
    except (OSError, ValueError) as failure:
        return Finding(
            "Prefect",
            False,
            f"PREFECT_API_URL is {_shown(url)}, where {_why(failure)}; start the server, set its address, which ends "
            "with /api, and PREFECT_API_AUTH_STRING if it asks for one, or unset it for a server of each run's own",
        )
    ahead["Prefect's server"] = said.ahead
    if theirs < Version(own):
        return Finding("Prefect", False, f"{_shown(url)} is {theirs}, older than {own} here; update the server")
    return Finding("Prefect", True, f"{_shown(url)}, {theirs}")


def mlflow(settings: Settings, ahead: dict[str, float | None]) -> Finding:
    """Whether the tracking store answers, and this user may read it."""
    uri = settings.tracking_uri
    if not uri.startswith(("http://", "https://")):
        return _tracking_database(uri)
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{part}", "") for part in ("USERNAME", "PASSWORD"))
    headers = {"Authorization": _basic(f"{user}:{password}")} if user else {}
    try:
        theirs = _ask(f"{uri.rstrip('/')}/version", headers).text.strip()
        said = _ask(f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1", headers)
    except (OSError, ValueError) as failure:
        return Finding(
            "MLflow",
            False,
            f"ROYALTY_MLFLOW_URI is {_shown(uri)}, where {_why(failure)}; start the server, set its address, set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD if it asks for them, and have it answer to this "
            "name by --allowed-hosts",
        )
    ahead["MLflow's server"] = said.ahead
    return Finding("MLflow", True, f"{_shown(uri)}, {theirs}")


def _tracking_database(uri: str) -> Finding:
    try:
        file = _sqlite_file(uri)
    except ArgumentError:
        return Finding("MLflow", False, f"ROYALTY_MLFLOW_URI is {uri!r}; set it to http://HOST:PORT, or unset it")
    if file is None:
        return Finding("MLflow", True, f"{_shown(uri)}, which MLflow opens itself")
    if not file.exists():
        return Finding("MLflow", True, f"{file}, which the first run makes")
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        return Finding("MLflow", False, f"{file} is damaged: {said}; restore it, or move it away for a new one")
    return Finding("MLflow", True, str(file))


def ledger(settings: Settings) -> Finding:
    """Whether run store and ledger open, and the chain of statements holds."""
    url = settings.run_store_url
    try:
        file = _sqlite_file(url)
        if file is not None and not file.exists():
            return Finding("ledger", True, f"{file}, which the first run makes")
        verified = Ledger(open_database(url)).verify()
    except (StoreError, ArgumentError, DBAPIError) as error:
        return Finding("ledger", False, str(error))
    if verified.broken is not None:
        return Finding(
            "ledger",
            False,
            f"in {masked(url)}, {verified.problem}; restore the database from a backup, and pay nobody by this one",
        )
    return Finding("ledger", True, f"{masked(url)}, schema {SCHEMA}, {verified.statements} statement(s), all hold")


def disk(root: Path) -> Finding:
    """Whether there is room for a run."""
    usage = shutil.disk_usage(_there(root))
    says = f"{usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB free for {root}"
    if usage.free >= FREE_SPACE:
        return Finding("disk", True, says)
    return Finding(
        "disk",
        False,
        f"{says}, and a run needs {FREE_SPACE // 2**20} MiB; free some, or set ROYALTY_HOME to a folder on "
        "a larger disk",
    )


def permissions(settings: Settings) -> Finding:
    """Whether this user may write the home and its stores, and nobody who should not."""
    root, there = settings.root, _there(settings.root)
    if not there.is_dir():
        return Finding("permissions", False, f"{there} is no folder; move it away, or set ROYALTY_HOME to another")
    files = [path for path in (root / "royalty.db", root / "mlflow" / "mlflow.db", root / "artifacts") if path.exists()]
    for path in (there, *files):
        if not os.access(path, os.W_OK):
            return Finding(
                "permissions",
                False,
                f"this user may not write {path}; `chown` it, or set ROYALTY_HOME to another folder",
            )
    for path in (root, *files):
        if path.exists() and path.stat().st_mode & stat.S_IWOTH:
            return Finding(
                "permissions",
                False,
                f"everybody on this machine may write {path}, and what is paid by it is in it; `chmod o-w {path}`",
            )
    if root.exists() and root.stat().st_mode & (stat.S_IROTH | stat.S_IXOTH):
        return Finding(
            "permissions",
            False,
            f"everybody on this machine may read {root}, and what people are paid is in it; `chmod go= {root}`",
        )
    return Finding("permissions", True, f"{root} " + ("can be written" if root.exists() else "can be made"))


def clock(settings: Settings, ahead: dict[str, float | None]) -> Finding:
    """Whether the clock has gone back behind what is recorded, or differs from those of servers and disk."""
    now = datetime.now(UTC)
    newest = _newest(settings)
    if newest is not None and (newest - now).total_seconds() > DRIFT_SECONDS:
        return Finding(
            "clock",
            False,
            f"it is {now:%Y-%m-%d %H:%M:%S} UTC here, and the newest record in the run store is of "
            f"{newest:%Y-%m-%d %H:%M:%S}; the clock went back, set it right, as by NTP",
        )
    if settings.root.is_dir() and os.access(settings.root, os.W_OK):
        with tempfile.NamedTemporaryFile(dir=settings.root, prefix=".clock-") as probe:
            ahead["the disk"] = Path(probe.name).stat().st_mtime - time.time()
    for whose, seconds in ahead.items():
        if seconds is not None and abs(seconds) > DRIFT_SECONDS:
            direction = "ahead of" if seconds > 0 else "behind"
            return Finding(
                "clock",
                False,
                f"the clock of {whose} is {abs(seconds):.0f} s {direction} the one here; set both right, as by NTP",
            )
    return Finding("clock", True, f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _newest(settings: Settings) -> datetime | None:
    """When the latest stage or statement was recorded; None where there is none, or no database to be read."""
    try:
        file = _sqlite_file(settings.run_store_url)
        if file is not None and not file.exists():
            return None
        with Session(open_database(settings.run_store_url)) as session:
            found = [session.scalar(select(func.max(row.created_at))) for row in (tables.Stage, tables.Statement)]
    except (StoreError, ArgumentError, DBAPIError):  # which the ledger's line tells
        return None
    return max((datetime.fromisoformat(one) for one in found if one), default=None)


def _ask(url: str, headers: dict[str, str]) -> Answer:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=ANSWER_SECONDS) as answer:
        date = answer.headers.get("Date")
        ahead = parsedate_to_datetime(date).timestamp() - time.time() if date else None
        return Answer(answer.read().decode(), ahead)


def _why(failure: OSError | ValueError) -> str:
    if isinstance(failure, urllib.error.HTTPError):
        return f"the answer is {failure.code} {failure.reason}"
    if isinstance(failure, OSError):
        return f"nothing answers ({getattr(failure, 'reason', failure)})"
    return f"no such server is ({failure})"


def _shown(url: str) -> str:
    """An address without its password."""
    try:
        return masked(url)
    except ArgumentError:
        return repr(url)


def _basic(user: str) -> str:
    return f"Basic {base64.b64encode(user.encode()).decode()}"


def _sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database; None of another."""
    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def _there(path: Path) -> Path:
    """The path, or the nearest above it that is there."""
    return path if path.exists() or path == path.parent else _there(path.parent)
