"""Where state lives. The only module that reads the environment."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from pydantic import Field, PositiveInt, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DASK_SCHEMES = ("tcp://", "tls://")
RAY_SCHEME = "ray://"
GPUS = Path("/proc/driver/nvidia/gpus")
"""Where NVIDIA's driver has a folder for each GPU that is here, or that a container was given."""


def cores() -> int:
    return os.cpu_count() or 1


def gpus() -> int:
    """GPUs that this process may use, without PyTorch, which takes seconds to import."""
    if not GPUS.is_dir():
        return 0
    here, allowed = len(list(GPUS.iterdir())), os.environ.get("CUDA_VISIBLE_DEVICES")
    named = here if allowed is None else len([name for name in allowed.split(",") if name.strip() not in ("", "-1")])
    return min(here, named)


class Settings(BaseSettings):
    """Each field is read from `ROYALTY_<NAME>`.

    Attributes:
        home: folder of every store this package keeps.
        database_url: of the run store and ledger; SQLite under `home` unless given.
        mlflow_uri: tracking server; SQLite under `home` unless given.
        weights: folder of weights that were fetched; `weights` under `home` unless given.
        openlineage: file or HTTP address that OpenLineage events go to; none unless given.
        workers: processes that measure coalitions at once; unless given, one a GPU, or one a core where there is none.
        runner: what starts them: `threads`, a local `dask` or `ray` cluster, or the address of a running one,
            `tcp://` or `tls://` of a Dask scheduler or `ray://` of a Ray head.
    """

    model_config = SettingsConfigDict(env_prefix="ROYALTY_", frozen=True)

    home: Path = Path(".royalty")
    database_url: str = ""
    mlflow_uri: str = ""
    weights: Path | None = None
    openlineage: str = ""
    workers: PositiveInt = Field(default_factory=lambda: gpus() or cores())
    runner: str = "threads"

    @field_validator("runner")
    @classmethod
    def _known_runner(cls, runner: str) -> str:
        if runner not in ("threads", "dask", "ray") and not runner.startswith((*DASK_SCHEMES, RAY_SCHEME)):
            raise ValueError(
                f"ROYALTY_RUNNER is threads, dask, ray, or the address of a cluster (tcp://HOST:8786 of a Dask "
                f"scheduler, ray://HOST:10001 of a Ray head); got {runner!r}"
            )
        return runner

    @property
    def root(self) -> Path:
        return self.home.expanduser().absolute()

    @property
    def threads(self) -> int:
        """Of each worker: all together use each core once."""
        return max(1, cores() // self.workers)

    @property
    def readers(self) -> int:
        """Processes that decode images: as many as workers if those were given, and one a core otherwise."""
        return self.workers if "workers" in self.model_fields_set else cores()

    @property
    def weights_root(self) -> Path:
        return self.root / "weights" if self.weights is None else self.weights.expanduser().absolute()

    @property
    def run_store_url(self) -> str:
        return self.database_url or f"sqlite:///{self.root / 'royalty.db'}"

    @property
    def tracking_uri(self) -> str:
        return self.mlflow_uri or f"sqlite:///{self.root / 'mlflow' / 'mlflow.db'}"


def masked(url: str) -> str:
    """A database's or server's address as it may be shown: with three stars for its password."""
    from sqlalchemy import make_url  # not every reader of settings waits for SQLAlchemy

    return make_url(url).render_as_string(hide_password=True)


@lru_cache
def settings() -> Settings:
    """The settings of this process.

    Raises:
        ValueError: a worker of Prefect runs this, whose folder is a passing one, and the home lies under it.
    """
    found = Settings()
    if os.environ.get("PREFECT__FLOW_RUN_ID") and not found.home.expanduser().is_absolute():
        raise ValueError(
            f"a Prefect worker runs each flow in a temporary folder, so that ROYALTY_HOME has to be an absolute path; "
            f"got {str(found.home)!r}. Start it by `ROYALTY_HOME=$PWD/.royalty prefect worker start`"
        )
    return found
