"""Where state lives. The only module that reads the environment."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from pydantic import PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Each field is read from `ROYALTY_<NAME>`.

    Attributes:
        home: folder of every store this package keeps.
        database_url: of the run store and ledger; SQLite under `home` unless given.
        mlflow_uri: tracking server; SQLite under `home` unless given.
        weights: folder of weights that were fetched; `weights` under `home` unless given.
        openlineage: file or HTTP address that OpenLineage events go to; none unless given.
        workers: coalitions measured at once; one a core unless given.
    """

    model_config = SettingsConfigDict(env_prefix="ROYALTY_", frozen=True)

    home: Path = Path(".royalty")
    database_url: str = ""
    mlflow_uri: str = ""
    weights: Path | None = None
    openlineage: str = ""
    workers: PositiveInt = os.cpu_count() or 1

    @property
    def root(self) -> Path:
        return self.home.expanduser().absolute()

    @property
    def weights_root(self) -> Path:
        return self.root / "weights" if self.weights is None else self.weights.expanduser().absolute()

    @property
    def run_store_url(self) -> str:
        return self.database_url or f"sqlite:///{self.root / 'royalty.db'}"

    @property
    def tracking_uri(self) -> str:
        return self.mlflow_uri or f"sqlite:///{self.root / 'mlflow' / 'mlflow.db'}"


@lru_cache
def settings() -> Settings:
    """The settings of this process."""
    return Settings()
