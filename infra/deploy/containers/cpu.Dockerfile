# Servers, and workers without a GPU. From the root of the repository:
#   docker build --file infra/deploy/containers/cpu.Dockerfile --tag royalty:cpu .
# PyTorch's usual packages bring CUDA, which nothing here uses; an index of those without it may be given by
#   --build-arg PIP_EXTRA_INDEX_URL=URL
FROM python:3.11.14-slim-bookworm

ARG PIP_EXTRA_INDEX_URL
ENV DO_NOT_TRACK=1 \
    MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    PIP_NO_CACHE_DIR=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PYTHONUNBUFFERED=1 \
    ROYALTY_HOME=/srv/royalty

# OpenCV, by which packages of image quality read images, is linked to these. Debian keeps one version of each.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/royalty
COPY . .
RUN pip install --constraint requirements.lock '.[cpu,dask,hub,openlineage,postgres,server]' \
    && useradd --uid 10001 --create-home royalty \
    && install --directory --owner royalty /srv/royalty

USER 10001
CMD ["royalty", "--help"]
