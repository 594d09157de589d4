"""`python -m royalty.infra.servers.templates`: make the empty databases that are copied into each new home."""

from __future__ import annotations

import tempfile
from pathlib import Path

from royalty.infra.servers.loopback import configure, prefect_server
from royalty.infra.settings import Settings
from royalty.infra.stores.templates import save_template, template


def main() -> None:
    """Make those that are missing, for the installed versions of Prefect and MLflow."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder))
        configure(settings)
        if not template("prefect").exists():
            server = prefect_server(settings)
            server.wait_until_ready()
            server.stop()
            save_template("prefect", settings.root / "prefect" / "prefect.db")
        if not template("mlflow").exists():
            from royalty.infra.tracking.client import create_database  # imports MLflow, which reads the environment

            database = settings.root / "mlflow.db"
            create_database(database)
            save_template("mlflow", database)


if __name__ == "__main__":
    main()
