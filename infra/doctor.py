"""Check the requirements of a run on this machine; each finding passes, or says what to do."""

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

from royalty.infra.audit.signing import PEM, load_key
from royalty.infra.ledger.acts import Acts
from royalty.infra.ledger.ledger import Ledger
from royalty.infra.settings import Settings, cores, masked
from royalty.infra.stores import tables
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.stores.database import SCHEMA, open_database
from royalty.infra.stores.keys import code_commit
from royalty.infra.stores.weights import WeightsError, WeightsStore
from royalty.infra.wording import counted
from royalty.infra.workspace import FREE_SPACE, notary

ANSWER_SECONDS = 10
DRIFT_SECONDS = 60
"""Maximum difference between the clocks of this machine and a server, or of this machine and the newest record."""
LISTED_PACKAGES = ("prefect", "mlflow", "torch", "diffusers", "sqlalchemy")
DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        line: what was checked.
        says: the state that was found, or the problem and what to do.
    """

    line: str
    passes: bool
    says: str


@dataclass(frozen=True)
class ServerAnswer:
    """Answer of a server.

    Attributes:
        ahead: seconds by which the server's clock is ahead of this machine's; None if it sends no date.
    """

    text: str
    ahead: float | None


def examine(settings: Settings) -> Iterator[Finding]:
    """Run all checks, and yield their findings one by one."""
    yield versions()
    yield devices(settings)
    yield weights(settings)
    ahead: dict[str, float | None] = {}
    yield prefect(ahead)
    yield mlflow(settings, ahead)
    yield ledger(settings)
    yield disk(settings.root)
    yield permissions(settings)
    yield key(settings)
    yield clock(settings, ahead)


def versions() -> Finding:
    """Check that each required package is installed in a suitable version."""
    requirements = [Requirement(text) for text in requires("royalty") or ()]
    applicable = [item for item in requirements if item.marker is None or item.marker.evaluate({"extra": ""})]
    problems = [problem for requirement in applicable for problem in _version_problems(requirement)]
    if problems:
        return Finding(
            "versions", False, f"{'; '.join(problems)}. Install the versions in requirements.lock: run `make run`"
        )
    packages = ", ".join(f"{name} {version(name)}" for name in LISTED_PACKAGES)
    return Finding("versions", True, f"Python {platform.python_version()}, Royalty {code_commit()}, {packages}")


def _version_problems(requirement: Requirement) -> Iterator[str]:
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        yield f"{requirement} is required, but not installed"
        return
    if not requirement.specifier.contains(installed, prereleases=True):
        yield f"{requirement} is required, but {installed} is installed"


def devices(settings: Settings) -> Finding:
    """Check that PyTorch can use the GPUs of this machine."""
    import torch  # takes seconds

    processors = f"{counted(cores(), 'core')}, {counted(settings.workers, 'worker')}"
    if torch.cuda.is_available():
        names = []
        for index in range(torch.cuda.device_count()):
            free, _ = torch.cuda.mem_get_info(index)
            names.append(f"{torch.cuda.get_device_name(index)} with {free / 2**30:.1f} GiB free")
        return Finding("devices", True, f"{processors}; {', '.join(names)}")
    if DRIVER.exists() or shutil.which("nvidia-smi"):
        return Finding(
            "devices",
            False,
            f"an NVIDIA driver is installed, but PyTorch {torch.__version__} finds no GPU; install a build of PyTorch "
            "for a CUDA version of this driver, and check that this user may open /dev/nvidia*",
        )
    return Finding("devices", True, f"{processors}; no GPU")


def weights(settings: Settings) -> Finding:
    """Check that the downloaded weights have not changed."""
    root = settings.weights_root
    if settings.weights is not None and not root.is_dir():
        return Finding(
            "weights", False, f"ROYALTY_WEIGHTS is {root}, which is not a folder; create it, or set another folder"
        )
    store = WeightsStore(root)
    try:
        present = [row.name for row in store.rows() if row.present]
        for name in present:
            store.locate(name)
    except WeightsError as changed:
        return Finding("weights", False, str(changed))
    return Finding("weights", True, f"embedded EfficientNet-Lite0; fetched: {', '.join(present) or 'none'}")


def prefect(ahead: dict[str, float | None]) -> Finding:
    """Check that the configured Prefect server answers, and is not older than the client."""
    url, client = os.environ.get("PREFECT_API_URL", ""), version("prefect")
    if not url:
        return Finding("Prefect", True, f"PREFECT_API_URL is not set; each run starts a local server, version {client}")
    headers = {}
    if key := os.environ.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    elif user := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = _basic(user)
    try:
        answer = _request(f"{url.rstrip('/')}/admin/version", headers)
        server = Version(answer.text.strip().strip('"'))
    except (OSError, ValueError) as failure:
        return Finding(
            "Prefect",
            False,
            f"PREFECT_API_URL is {_without_password(url)}, where {_reason(failure)}; start the server, set its address "
            "ending with /api, and set PREFECT_API_AUTH_STRING if it requires one; or unset PREFECT_API_URL, so that "
            "each run starts a local server",
        )
    ahead["the Prefect server"] = answer.ahead
    if server < Version(client):
        return Finding(
            "Prefect",
            False,
            f"{_without_password(url)} has version {server}, older than {client} here; update the server",
        )
    return Finding("Prefect", True, f"{_without_password(url)}, {server}")


def mlflow(settings: Settings, ahead: dict[str, float | None]) -> Finding:
    """Check that the tracking store answers, and that this user may read it."""
    uri = settings.tracking_uri
    if not uri.startswith(("http://", "https://")):
        return _tracking_database(uri)
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{part}", "") for part in ("USERNAME", "PASSWORD"))
    headers = {"Authorization": _basic(f"{user}:{password}")} if user else {}
    try:
        server = _request(f"{uri.rstrip('/')}/version", headers).text.strip()
        answer = _request(f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1", headers)
    except (OSError, ValueError) as failure:
        return Finding(
            "MLflow",
            False,
            f"ROYALTY_MLFLOW_URI is {_without_password(uri)}, where {_reason(failure)}; start the server, set its "
            "address, set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD if it requires them, and allow this "
            "host name in its --allowed-hosts",
        )
    ahead["the MLflow server"] = answer.ahead
    return Finding("MLflow", True, f"{_without_password(uri)}, {server}")


def _tracking_database(uri: str) -> Finding:
    try:
        file = _sqlite_file(uri)
    except ArgumentError:
        return Finding("MLflow", False, f"ROYALTY_MLFLOW_URI is {uri!r}; set it to http://HOST:PORT, or unset it")
    if file is None:
        return Finding("MLflow", True, f"{_without_password(uri)}, a database that MLflow opens directly; not checked")
    if not file.exists():
        return Finding("MLflow", True, f"{file}, which the first run creates")
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        state = str(error)
    if state != "ok":
        return Finding(
            "MLflow", False, f"{file} is damaged: {state}; restore it, or move it away so that a new one is created"
        )
    return Finding("MLflow", True, str(file))


def ledger(settings: Settings) -> Finding:
    """Check that run store and ledger open, and that rows, acts and statements are valid and signed by trusted keys."""
    url = settings.run_store_url
    try:
        file = _sqlite_file(url)
        if file is not None and not file.exists():
            return Finding("ledger", True, f"{file}, which the first run creates")
        engine, keeper = open_database(url), notary(settings)
        signed = keeper.seals("rows") and keeper.seals("links")
        seal = keeper if signed else None
        verified = Ledger(engine, seal).verify()
        problems = [verified.problem] if verified.broken is not None else []
        problems += [*Acts(engine, seal).problems(), *keeper.problems()]
    except (StoreError, ArgumentError, DBAPIError) as error:
        return Finding("ledger", False, str(error))
    if problems:
        remedy = "restore the database from a backup, and make no payment from this one"
        return Finding("ledger", False, f"in {masked(url)}, {'; '.join(problems)}; {remedy}")
    unsigned = "; rows, acts and statements are not signed yet: the next command that writes signs them"
    verified_by = "all verified, with signatures" if signed else f"all verified{unsigned}"
    statements = counted(verified.statements, "statement")
    return Finding("ledger", True, f"{masked(url)}, schema {SCHEMA}, {statements}, {verified_by}")


def disk(root: Path) -> Finding:
    """Check that the disk has room for a run."""
    usage = shutil.disk_usage(_nearest_existing(root))
    space = f"{usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB free for {root}"
    if usage.free >= FREE_SPACE:
        return Finding("disk", True, space)
    return Finding(
        "disk",
        False,
        f"{space}, but a run needs {FREE_SPACE // 2**20} MiB; free some space, or set ROYALTY_HOME to a folder on "
        "a larger disk",
    )


def permissions(settings: Settings) -> Finding:
    """Check that this user may write `ROYALTY_HOME` and its stores, and that other users may not."""
    root, existing = settings.root, _nearest_existing(settings.root)
    if not existing.is_dir():
        return Finding(
            "permissions", False, f"{existing} is not a folder; move it away, or set ROYALTY_HOME to another folder"
        )
    files = [path for path in (root / "royalty.db", root / "mlflow" / "mlflow.db", root / "artifacts") if path.exists()]
    for path in (existing, *files):
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
                f"all users of this machine may write {path}, which determines payments; run `chmod o-w {path}`",
            )
    if root.exists() and root.stat().st_mode & (stat.S_IROTH | stat.S_IXOTH):
        return Finding(
            "permissions",
            False,
            f"all users of this machine may read {root}, which contains people's payments; run `chmod go= {root}`",
        )
    return Finding("permissions", True, f"{root} " + ("can be written" if root.exists() else "can be created"))


def key(settings: Settings) -> Finding:
    """Check that the key that signs checkpoints can be used, and that other users may not read it."""
    given = settings.signing_key.get_secret_value()
    file = Path(given).expanduser() if given else settings.root / "audit" / "signing.pem"
    password = settings.signing_password.get_secret_value()
    encrypted = "encrypted" if password else "not encrypted: ROYALTY_SIGNING_PASSWORD is not set"
    if not given and not file.exists():
        return Finding("key", True, f"{file}, which the first posting writes, {encrypted}")
    try:
        load_key(given or str(file), password)
    except StoreError as error:
        return Finding("key", False, str(error))
    if PEM in given:
        return Finding("key", True, f"the text of ROYALTY_SIGNING_KEY, {encrypted}")
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Finding("key", False, f"other users may read {file}, which signs the ledger; run `chmod go= {file}`")
    if password:
        return Finding("key", True, f"{file}, encrypted")
    return Finding(
        "key",
        True,
        f"{file}, not encrypted: whoever reads it, or a backup of it, can sign. To change that, set "
        "ROYALTY_SIGNING_PASSWORD, write a key by `royalty audit key`, and replace this one by `royalty audit rotate`",
    )


def clock(settings: Settings, ahead: dict[str, float | None]) -> Finding:
    """Check that the clock is not behind the newest record, and agrees with the clocks of servers and disk."""
    now = datetime.now(UTC)
    newest = _newest(settings)
    if newest is not None and (newest - now).total_seconds() > DRIFT_SECONDS:
        return Finding(
            "clock",
            False,
            f"this machine's clock shows {now:%Y-%m-%d %H:%M:%S} UTC, but the newest record in the run store is dated "
            f"{newest:%Y-%m-%d %H:%M:%S}: the clock went back; synchronise it, for example with NTP",
        )
    if settings.root.is_dir() and os.access(settings.root, os.W_OK):
        with tempfile.NamedTemporaryFile(dir=settings.root, prefix=".clock-") as probe:
            ahead["the disk"] = Path(probe.name).stat().st_mtime - time.time()
    for source, seconds in ahead.items():
        if seconds is not None and abs(seconds) > DRIFT_SECONDS:
            direction = "ahead of" if seconds > 0 else "behind"
            return Finding(
                "clock",
                False,
                f"the clock of {source} is {abs(seconds):.0f} s {direction} this machine's; synchronise both, for "
                "example with NTP",
            )
    return Finding("clock", True, f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _newest(settings: Settings) -> datetime | None:
    """Time of the latest stage or statement; None if there is none, or if no database can be read."""
    try:
        file = _sqlite_file(settings.run_store_url)
        if file is not None and not file.exists():
            return None
        with Session(open_database(settings.run_store_url)) as session:
            times = [session.scalar(select(func.max(row.created_at))) for row in (tables.StageRow, tables.StatementRow)]
    except (StoreError, ArgumentError, DBAPIError):  # reported by the check of the ledger
        return None
    return max((datetime.fromisoformat(time) for time in times if time), default=None)


def _request(url: str, headers: dict[str, str]) -> ServerAnswer:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=ANSWER_SECONDS) as answer:
        date = answer.headers.get("Date")
        ahead = parsedate_to_datetime(date).timestamp() - time.time() if date else None
        return ServerAnswer(answer.read().decode(), ahead)


def _reason(failure: OSError | ValueError) -> str:
    if isinstance(failure, urllib.error.HTTPError):
        return f"the answer is {failure.code} {failure.reason}"
    if isinstance(failure, OSError):
        return f"nothing answers ({getattr(failure, 'reason', failure)})"
    return f"the answer is not that of such a server ({failure})"


def _without_password(url: str) -> str:
    """An address without its password."""
    try:
        return masked(url)
    except ArgumentError:
        return repr(url)


def _basic(user: str) -> str:
    return f"Basic {base64.b64encode(user.encode()).decode()}"


def _sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database; None for other databases."""
    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def _nearest_existing(path: Path) -> Path:
    """The path, or its nearest parent that exists."""
    return path if path.exists() or path == path.parent else _nearest_existing(path.parent)
