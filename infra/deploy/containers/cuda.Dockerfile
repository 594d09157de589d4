# Workers with an NVIDIA GPU. From the root of the repository:
#   docker build --file infra/deploy/containers/cuda.Dockerfile --tag royalty:cuda .
# CUDA comes with PyTorch's packages, and the driver from the host, by its NVIDIA Container Toolkit: the base needs neither.
FROM python:3.11.14-slim-bookworm

ENV DO_NOT_TRACK=1 \
    MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false \
    MLFLOW_DISABLE_TELEMETRY=true \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all \
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
RUN pip install --constraint requirements.lock '.[gpu,dask,hub,openlineage,postgres]' \
    && useradd --uid 10001 --create-home royalty \
    && install --directory --owner royalty /srv/royalty

USER 10001
CMD ["royalty", "--help"]
