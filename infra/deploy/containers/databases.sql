-- Run once, when the volume of PostgreSQL is empty. Prefect and MLflow each keep a table `alembic_version`, so that they
-- cannot share one database.
CREATE DATABASE prefect;
CREATE DATABASE mlflow;
CREATE DATABASE royalty;
