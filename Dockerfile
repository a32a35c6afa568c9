# One image for every use: `docker run IMAGE` plays the demo on the embedded exchange; any `trader` command may follow.
# Nothing here needs BuildKit.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/trader
WORKDIR /build
COPY constraints.txt deploy/install_torch.py ./
RUN /opt/trader/bin/python install_torch.py constraints.txt "${TORCH_INDEX}"
COPY pyproject.toml setup.py README.md LICENSE ./
COPY trader trader
COPY deploy deploy
RUN /opt/trader/bin/python -m pip install --constraint constraints.txt . \
    && deploy/trim.sh /opt/trader

FROM ${BASE}
LABEL org.opencontainers.image.title="trader" \
    org.opencontainers.image.description="Trade Binance USDT-M futures from a forecast, once per candle close" \
    org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/trader /opt/trader
RUN mkdir /data && chown 10001:10001 /data
ENV PATH=/opt/trader/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TRADER_DATA_DIR=/data \
    HOME=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
# The answer comes from a heartbeat that the daemon's own loop writes; asking loads neither torch nor ccxt.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["trader", "health"]
# The status page; it is on the container's own loopback until TRADER_STATUS__HOST and TRADER_STATUS_TOKEN say otherwise.
EXPOSE 8787
STOPSIGNAL SIGTERM
ENTRYPOINT ["trader"]
CMD ["run"]
