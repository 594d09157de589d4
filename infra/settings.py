"""Settings from the environment: locations of state, and how work is distributed."""

from __future__ import annotations

import getpass
import os
import re
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from royalty.infra.errors import UserError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

DASK_SCHEMES = ("tcp://", "tls://")
RAY_SCHEME = "ray://"
STORE = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9.-]+(/[^\s@?#]*)?")
GPUS = Path("/proc/driver/nvidia/gpus")
"""NVIDIA's driver has a folder here for each GPU of the machine or of the container."""


def cores() -> int:
    """Number of cores that this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_gpu_memory() -> int:
    """Bytes that are free on the visible GPU with the fewest, by NVIDIA's tool; 0 if it says nothing."""
    asked = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    asked += [f"--id={visible}"] if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) else []
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
        return min(int(line) for line in answer.split()) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


def user() -> str:
    """Name of the user of this process, or its number if the system has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number
        return str(os.getuid())


def gpus() -> int:
    """Number of GPUs that this process may use, determined without importing PyTorch, which takes seconds."""
    if not GPUS.is_dir():
        return 0
    present, visible = len(list(GPUS.iterdir())), os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return present
    return min(present, len([name for name in visible.split(",") if name.strip() not in ("", "-1")]))


_on_each_gpu = 1


def use_gpu_memory(processes: int) -> None:
    """Let the default of `workers` be so many processes on each GPU, in this process."""
    global _on_each_gpu
    _on_each_gpu = processes
    settings.cache_clear()


class SettingsError(UserError, ValueError):
    """An environment variable has a value that it cannot have."""


class Settings(BaseSettings):
    """Each field is read from `ROYALTY_<NAME>`.

    Attributes:
        home: folder of all stores.
        folder: folder that relative paths of deployments' parameters are resolved against; by default the current one,
            which a Prefect worker makes anew for each flow run.
        artifacts: address `s3://BUCKET/PREFIX` of an S3-compatible store of models and tables; by default they are in
            `home`.
        database_url: URL of the database of run store and ledger; by default SQLite in `home`.
        mlflow_uri: MLflow tracking server; by default SQLite in `home`.
        weights: folder of downloaded weights; by default `weights` in `home`.
        openlineage: file or HTTP address for OpenLineage events; by default no events are sent.
        openlineage_owner: owner of jobs and datasets in these events, such as `team:ml`; by default none is named.
        openlineage_contributors: name contributors as owners of datasets, and send messages of errors, which may name
            them; by default events have no personal data.
        workers: number of processes that measure coalitions at once; by default one for each core, or on GPUs as
            many as their memory has room for (`use_gpu_memory`).
        actor: who acts in cases, opt-outs and approvals; by default the user of this process.
        language: language of contributors' pages and annual statements: one that is shipped, or a YAML file with texts.
        signing_key: private key that signs checkpoints of the ledger and rows of the run store, as PEM or as the path
            of its file; by default one that is written to `home`.
        signing_password: password of that key; with one, keys are written encrypted.
        checkpoints: another folder that each checkpoint is written to, best where who owns the database cannot write.
        timestamp_url: address of a time-stamping authority (RFC 3161); by default none is asked.
        runner: task runner that starts these processes: `threads`, a local `dask` or `ray` cluster, or the address of
            a running cluster, `tcp://` or `tls://` of a Dask scheduler or `ray://` of a Ray head.
    """

    model_config = SettingsConfigDict(env_prefix="ROYALTY_", frozen=True)

    home: Path = Path(".royalty")
    folder: Path | None = None
    artifacts: str = ""
    database_url: str = ""
    mlflow_uri: str = ""
    weights: Path | None = None
    openlineage: str = ""
    openlineage_owner: str = ""
    openlineage_contributors: bool = False
    workers: PositiveInt = Field(default_factory=lambda: gpus() * _on_each_gpu or cores())
    actor: str = Field(default_factory=user)
    language: str = "en"
    runner: str = "threads"
    signing_key: SecretStr = SecretStr("")
    signing_password: SecretStr = SecretStr("")
    checkpoints: Path | None = None
    timestamp_url: str = ""

    @field_validator("runner")
    @classmethod
    def _known_runner(cls, runner: str) -> str:
        if runner not in ("threads", "dask", "ray") and not runner.startswith((*DASK_SCHEMES, RAY_SCHEME)):
            raise ValueError(
                f"ROYALTY_RUNNER must be threads, dask, ray, or the address of a cluster (tcp://HOST:8786 of a Dask "
                f"scheduler, ray://HOST:10001 of a Ray head), got {runner!r}"
            )
        return runner

    @field_validator("artifacts")
    @classmethod
    def _known_store(cls, address: str) -> str:
        if address and not STORE.fullmatch(address):
            raise ValueError(
                f"ROYALTY_ARTIFACTS must be the address of a bucket, such as s3://BUCKET/PREFIX, got {address!r}; "
                "credentials and endpoint are those of AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
            )
        return address.rstrip("/")

    @property
    def root(self) -> Path:
        return self.home.expanduser().absolute()

    @property
    def threads(self) -> int:
        """Number of threads of each worker, so that all workers together use each core once."""
        return max(1, cores() // self.workers)

    @property
    def readers(self) -> int:
        """Number of processes that decode images: `workers` if it was set, otherwise one for each core."""
        return self.workers if "workers" in self.model_fields_set else cores()

    @property
    def weights_root(self) -> Path:
        return self.root / "weights" if self.weights is None else self.weights.expanduser().absolute()

    @property
    def stores(self) -> tuple[Path, str, Path, int]:
        """What a worker process opens its stores by: home, address of artifacts, folder of weights, and threads."""
        return self.root, self.artifacts, self.weights_root, self.threads

    @property
    def run_store_url(self) -> str:
        return self.database_url or f"sqlite:///{self.root / 'royalty.db'}"

    @property
    def tracking_uri(self) -> str:
        return self.mlflow_uri or f"sqlite:///{self.root / 'mlflow' / 'mlflow.db'}"


def masked(url: str) -> str:
    """The address of a database or server with its password replaced by three stars."""
    from sqlalchemy import make_url  # imported here, because many modules need settings and not SQLAlchemy

    return make_url(url).render_as_string(hide_password=True)


@lru_cache
def settings() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: a variable breaks its rule, or a Prefect worker runs this process in a temporary folder, and
            `home` is a relative path.
    """
    try:
        current = Settings()
    except ValidationError as error:
        raise SettingsError("; ".join(map(_broken_rule, error.errors(include_url=False)))) from None
    if os.environ.get("PREFECT__FLOW_RUN_ID") and not current.home.expanduser().is_absolute():
        raise SettingsError(
            f"a Prefect worker runs each flow in a temporary folder, so ROYALTY_HOME must be an absolute path, got "
            f"{str(current.home)!r}. Start the worker with `ROYALTY_HOME=$PWD/.royalty prefect worker start`"
        )
    return current


def _broken_rule(error: ErrorDetails) -> str:
    rule = error["msg"].removeprefix("Value error, ")
    if rule.startswith("ROYALTY_"):
        return rule
    name = f"ROYALTY_{error['loc'][0]}".upper()
    return f"{name}: {rule[:1].lower()}{rule[1:]}; got {error['input']!r}. Correct it, or unset {name}"
