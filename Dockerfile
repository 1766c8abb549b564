# syntax=docker/dockerfile:1
#
# The tile server, without a compiler, a package manager's cache or a root user in it.
#
#   docker build --tag orthosharp .
#   docker run --rm --publish 8000:8000 orthosharp                                      the demo
#   docker run --rm --publish 8000:8000 --volume /photos:/data:ro orthosharp serve /data/1998.tif
#
# It runs the network on the processor. For a GPU: docker build --build-arg EXTRAS=torch ... (gigabytes: torch's default
# wheels for Linux carry CUDA; --build-arg TORCH_INDEX=URL chooses another build, as pytorch.org names under "Get started").

ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim AS build
ARG EXTRAS=""
ARG TORCH_INDEX=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/orthosharp
ENV PATH=/opt/orthosharp/bin:$PATH
# torch first and alone: this layer is large and changes only with the index. Its bounds are pyproject.toml's.
# hadolint ignore=DL3013
RUN [ "$EXTRAS" != torch ] || pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch torchvision
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir ".${EXTRAS:+[$EXTRAS]}"

FROM python:${PYTHON_VERSION}-slim AS run
# rasterio's wheels expect the system's libexpat.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libexpat1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home orthosharp \
    && install --directory --owner=orthosharp /tiles
COPY --from=build /opt/orthosharp /opt/orthosharp
ENV PATH=/opt/orthosharp/bin:$PATH \
    ORTHOSHARP_HOST=0.0.0.0 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/tmp/numba
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"ORTHOSHARP_PORT\", 8000)}/healthz', timeout=4).close()"]
ENTRYPOINT ["orthosharp"]
CMD ["serve", "--demo"]
