# Freshet's image: built in one stage, run as an ordinary user in another with nothing but the libraries it needs.
#
#     docker build -t freshet .
#     docker run -e FRESHET_DATABASE_URL=postgres://app@db/shop -v ./freshet.yml:/etc/freshet/freshet.yml:ro freshet

FROM debian:bookworm-slim AS build
WORKDIR /src
COPY tests/deps tests/deps
RUN tests/deps build
COPY Makefile ./
COPY base base
COPY cache cache
COPY cdc cdc
COPY connectors connectors
COPY server server
RUN make build/freshet && strip build/freshet

FROM debian:bookworm-slim
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        libpq5 librdkafka1 libhiredis0.14 libssl3 libyaml-0-2 libcurl4 libmicrohttpd12 libjansson4 libxxhash0 zlib1g libjemalloc2 ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --home-dir /var/lib/freshet --shell /usr/sbin/nologin freshet \
    && install -d -o freshet -g freshet /var/lib/freshet
COPY --from=build /src/build/freshet /usr/local/bin/freshet
USER freshet
WORKDIR /var/lib/freshet
# Positions and dead letters of the connectors.
ENV FRESHET_STATE_DIR=/var/lib/freshet
VOLUME /var/lib/freshet
EXPOSE 6380 9180
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s CMD ["freshet", "status"]
ENTRYPOINT ["freshet"]
CMD ["run", "-c", "/etc/freshet/freshet.yml"]
