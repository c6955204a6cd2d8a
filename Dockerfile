# docker build -t uadbench .
# docker build -t uadbench-cuda --build-arg BASE=nvidia/cuda:12.8.1-runtime-ubuntu24.04 .
# docker run --rm -v "$PWD:/work" uadbench run --method thresh --folds all          # add --gpus all for the CUDA image
# docker run --rm -v "$PWD:/work" -p 5000:5000 uadbench ui --host 0.0.0.0
#
# torch comes from the package index that pip is told to use; --build-arg PIP_INDEX_URL=… and PIP_EXTRA_INDEX_URL=…
# name another, such as one with builds for CPUs alone.
ARG BASE=python:3.11-slim
FROM ${BASE}
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL

# A CUDA base has no Python of its own.
# hadolint ignore=DL3008
RUN if ! python3 -c "import ensurepip, venv"; then \
      apt-get update \
      && apt-get install --yes --no-install-recommends python3 python3-venv \
      && rm -rf /var/lib/apt/lists/*; \
    fi \
    && python3 -m venv /opt/uadbench
ENV PATH=/opt/uadbench/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    MLFLOW_DISABLE_TELEMETRY=true

# The libraries first: they stay as they are when a line of the code changes. The lines are the Makefile's.
WORKDIR /opt/source
COPY constraints.txt ./
RUN pip install --quiet --disable-pip-version-check --constraint constraints.txt torch setuptools wheel
COPY pyproject.toml README.md LICENSE ./
COPY core core
COPY metrics metrics
COPY datasets datasets
COPY methods methods
COPY benchmarks benchmarks
COPY results/__init__.py results/__init__.py
COPY results/paper results/paper
RUN pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-build-isolation .

# Results land in the folder that is mounted here; give the mount's owner by --user "$(id -u)".
RUN useradd --create-home --uid 10001 uadbench && install --directory --owner uadbench /work
USER 10001
WORKDIR /work
ENTRYPOINT ["bench"]
CMD ["--help"]
