# Images of the two jobs, of what starts them, and of MLflow's server; docs/compose.md says how they are built and used.
#   train, inference     `docker run churn-train`, `docker run churn-inference`
#   watch                both, whenever there is something new
#   serve                scores over HTTP, from the champion
#   inference-baked      the same with a model built in, which needs no registry
#   mlflow               the tracking server, and the commands that set the servers of compose.yaml up
#   postgres, minio, seaweedfs   the servers of others that compose.yaml starts, as they are
# Every package comes from uv.lock, by its hash, and every image of others from the lines below, by its digest.

# What inference-baked is made of: an image with the model's files at its root; make image-baked makes it from a folder.
ARG MODEL_IMAGE=no-model

# --- images of others, which nothing else names: Dependabot updates tag and digest here -------------------------------
FROM python:3.11-slim-bookworm@sha256:2e32f7d302adc1c37428355c1e646897c0c53f4fd60b6a551245fb90ee129f91 AS python
FROM ghcr.io/astral-sh/uv:0.13.0@sha256:cdc6093146eb3ff6a40107b38f008b789e050e77ad87865e381d9917da55a168 AS uv
FROM postgres:17-bookworm@sha256:639ab7ceb90e13123085b741fb31ef493fba25463002f6da665352e7b534b652 AS postgres
FROM quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z@sha256:14cea493d9a34af32f524e538b8346cf79f3321eff8e708c1e2960462bd8936e AS minio
FROM chrislusf/seaweedfs:4.48@sha256:4e61d15fd35994cb1e43e1e553dff106794841fd9a99ade2fc8c8bfce4d7872d AS seaweedfs

# Not empty: in place of nothing, an older builder takes the model of an earlier build from its cache.
FROM scratch AS no-model
COPY .telemetry /no-model

# hadolint ignore=DL3006
FROM ${MODEL_IMAGE} AS model

# --- what all images have --------------------------------------------------------------------------------------------
FROM python AS base
# Whatever the process writes goes below /tmp: the rest of the file system may be read-only, and the user any other. The jobs
# declare it as a volume, so that it can be written to, by any user, where nobody mounts something else there.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    USER=churn \
    XDG_CACHE_HOME=/tmp/cache \
    XDG_CONFIG_HOME=/tmp/config \
    MPLCONFIGDIR=/tmp/matplotlib \
    CHURN_SCRATCH=/tmp/churn \
    GIT_PYTHON_REFRESH=quiet \
    DO_NOT_TRACK=1
RUN groupadd --gid 10001 churn \
    && useradd --uid 10001 --gid churn --no-create-home --home-dir /tmp --shell /usr/sbin/nologin churn
WORKDIR /app

# --- packages, an environment for each image -------------------------------------------------------------------------
FROM base AS packages
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_PROJECT_ENVIRONMENT=/opt/venv \
    UV_CACHE_DIR=/var/cache/uv \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    UV_PYTHON_DOWNLOADS=never
COPY pyproject.toml uv.lock ./
# The tests of the large libraries, a tenth of all that is installed.
ARG LIBRARY_TESTS=".*/site-packages/\(pandas\|scipy\|sklearn\|pyarrow\|matplotlib\)/.*"

FROM packages AS packages-train
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --locked --no-default-groups --extra watch --extra sql --no-install-project \
    && rm -f /opt/venv/.lock \
    && find /opt/venv/lib -type d -name tests -regex "${LIBRARY_TESTS}" -prune -exec rm -rf {} + \
    # MLflow's pages are for its server.
    && rm -rf /opt/venv/lib/python3*/site-packages/mlflow/server/js

# No search for parameters, no plots, and XGBoost without CUDA where there is one. The service has the same packages.
FROM packages AS packages-inference
RUN --mount=type=cache,target=/var/cache/uv \
    set -- --no-install-package optuna --no-install-package colorlog --no-install-package matplotlib \
      --no-install-package contourpy --no-install-package cycler --no-install-package fonttools \
      --no-install-package kiwisolver --no-install-package pillow --no-install-package pyparsing \
    && if [ "$(uname -m)" = x86_64 ]; then set -- "$@" --group cpu --no-install-package xgboost; fi \
    && uv sync --locked --no-default-groups --extra serve --no-install-project "$@" \
    && rm -f /opt/venv/.lock \
    && find /opt/venv/lib -type d -name tests -regex "${LIBRARY_TESTS}" -prune -exec rm -rf {} + \
    # MLflow's pages are for its server.
    && rm -rf /opt/venv/lib/python3*/site-packages/mlflow/server/js

# The server neither trains nor scores.
FROM packages AS packages-mlflow
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --locked --no-default-groups --group mlflow-server --no-install-project \
      --no-install-package xgboost --no-install-package optuna --no-install-package colorlog \
    && rm -f /opt/venv/.lock \
    && find /opt/venv/lib -type d -name tests -regex "${LIBRARY_TESTS}" -prune -exec rm -rf {} +

# --- the project, which changes more often ---------------------------------------------------------------------------
FROM packages AS wheel
RUN --mount=type=cache,target=/var/cache/uv uv sync --locked --only-group build
COPY README.md LICENSE ./
COPY src src
RUN uv build --wheel --no-build-isolation --out-dir /wheel

# --- the images ------------------------------------------------------------------------------------------------------
FROM base AS train
COPY --from=packages-train /opt/venv /opt/venv
RUN --mount=from=uv,source=/uv,target=/usr/local/bin/uv --mount=from=wheel,source=/wheel,target=/wheel \
    uv pip install --no-cache --python /opt/venv/bin/python --no-deps --no-index --compile-bytecode /wheel/*.whl \
    && rm -f /opt/venv/.lock \
    # Kedro wants the folder that pyproject.toml names; the project itself is installed.
    && mkdir src
COPY pyproject.toml .telemetry ./
COPY conf conf
USER 10001:10001
VOLUME /tmp
# A job, not a server: its exit code says how it went.
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "churn.operations.container", "train"]
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="churn-train" \
      org.opencontainers.image.description="Trains a churn model on a table of accounts" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM train AS watch
USER 0:0
# How far it is. A volume that is mounted here for the first time belongs to its user.
RUN install --directory --owner=10001 --group=10001 /srv/watch
USER 10001:10001
EXPOSE 8787
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8787/health', timeout=4)"]
ENTRYPOINT ["python", "-m", "churn.operations.container", "watch"]
LABEL org.opencontainers.image.title="churn-watch" \
      org.opencontainers.image.description="Trains and scores whenever there is something new"

FROM base AS inference
COPY --from=packages-inference /opt/venv /opt/venv
RUN --mount=from=uv,source=/uv,target=/usr/local/bin/uv --mount=from=wheel,source=/wheel,target=/wheel \
    uv pip install --no-cache --python /opt/venv/bin/python --no-deps --no-index --compile-bytecode /wheel/*.whl \
    && rm -f /opt/venv/.lock \
    && mkdir src
COPY pyproject.toml .telemetry ./
COPY conf conf
USER 10001:10001
VOLUME /tmp
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "churn.operations.container", "inference"]
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="churn-inference" \
      org.opencontainers.image.description="Scores a table of accounts and publishes the scores" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM inference AS serve
USER 0:0
# Copies of models and of scores. A volume that is mounted here for the first time belongs to its user.
RUN install --directory --owner=10001 --group=10001 /srv/serve
USER 10001:10001
ENV CHURN_SCRATCH=/srv/serve
EXPOSE 8788
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8788/readyz', timeout=4)"]
ENTRYPOINT ["python", "-m", "churn.operations.container", "serve"]
LABEL org.opencontainers.image.title="churn-serve" \
      org.opencontainers.image.description="Answers requests for scores over HTTP, with the champion"

FROM inference AS inference-baked
COPY --from=model --chown=0:0 / /opt/model/
USER 0:0
# Readable for any user; and a model that is damaged, or missing, makes no image.
RUN chmod -R a+rX /opt/model && python -m churn.operations.container verify /opt/model
USER 10001:10001
# Tracked in a file that goes with the container, unless a server is named.
ENV MODEL_URI=/opt/model \
    MLFLOW_TRACKING_URI=sqlite:////tmp/churn/mlflow.db
LABEL org.opencontainers.image.title="churn-inference-baked" \
      org.opencontainers.image.description="Scores a table of accounts with the model inside and publishes the scores"

FROM base AS mlflow
COPY --from=packages-mlflow /opt/venv /opt/venv
RUN --mount=from=uv,source=/uv,target=/usr/local/bin/uv --mount=from=wheel,source=/wheel,target=/wheel \
    uv pip install --no-cache --python /opt/venv/bin/python --no-deps --no-index --compile-bytecode /wheel/*.whl \
    && rm -f /opt/venv/.lock \
    # A volume that is mounted here for the first time belongs to this user.
    && install --directory --owner=10001 --group=10001 /srv/store
USER 10001:10001
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:5000/health', timeout=4)"]
ENTRYPOINT ["python", "-m", "churn.services"]
CMD ["mlflow", "--database-host", "postgres", "--allowed-hosts", "mlflow:5000,localhost:5000,127.0.0.1:5000"]
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="churn-mlflow" \
      org.opencontainers.image.description="MLflow's tracking server and registry" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
