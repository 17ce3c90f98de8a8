# syntax=docker/dockerfile:1
# check=skip=SecretsUsedInArgOrEnv
ARG DEBIAN=12 RUST=1.90
ARG IMAGE=debian:${DEBIAN:-11}
ARG PREFIX=/opt/${RUST%.*}

# base is what everything is built on
FROM --platform=$BUILDPLATFORM ${IMAGE} AS base
ARG DEBIAN RUST TARGETARCH
ENV LANG=C.UTF-8 LC_ALL=${LANG} \
    PREFIX=${PREFIX:-/opt/app} \
    PATH="${PREFIX:-/opt/app}/bin:$PATH"
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update && \
    # the compiler and what it needs
    apt-get install -y --no-install-recommends \
        build-essential=12.* \
        ca-certificates \
        "linux-headers-${TARGETARCH}" && \
    rm -rf /var/log/*
WORKDIR /src
LABEL org.opencontainers.image.title="An \"app\"" org.opencontainers.image.version="${RUST}-$DEBIAN"

FROM base AS tools
ARG TOOLS="make cmake ninja-build"
ARG CURL_VERSION=${CURL_VERSION:-8.5.0}
ENV TOOLS=${TOOLS} CURL="curl-${CURL_VERSION}" EMPTY= SINGLE='not $expanded'
RUN <<EOT
set -e
for tool in $TOOLS; do
    apt-get install -y "$tool"
done
EOT
COPY --chmod=0755 <<"wait.sh" <<env.sh /usr/local/bin/
#!/bin/sh
while ! test -e "$1"; do sleep 1; done
wait.sh
export PATH="$PATH:${CURL}/bin" TOOLS='${TOOLS}'
env.sh
ADD --checksum=sha256:24c7fded390f4a5cb1f6a1f6a7d6aad0a1d8a4d1e4f6b37a9d1fd9ac1b39b5f3 \
    https://example.com/${CURL}.tar.gz /tmp/
HEALTHCHECK --interval=5m --timeout=3s --retries=3 CMD ["/usr/local/bin/wait.sh", "/run/ready"]

FROM tools AS sources
ARG REPOSITORY=https://example.com/app.git
ARG BRANCH=main
ADD --keep-git-dir=true --link ${REPOSITORY}#${BRANCH} /src/app
COPY --link --chown=1000:1000 --exclude=*.md ["Cargo.toml", "Cargo.lock", "rust toolchain.toml", "./"]
COPY --chown=${UID:-1000}:${GID:-1000} crates/*/Cargo.toml ./crates/
RUN --mount=type=bind,source=.,target=/context,ro \
    --mount=type=secret,id=token,env=TOKEN,required=false \
    ["cargo", "fetch", "--locked", "--target", "x86_64-unknown-linux-gnu"]
ENV CARGO_HOME=/cargo CARGO_TARGET_DIR=${CARGO_HOME:-/cargo}/target
ENV RUSTFLAGS="-C target-cpu=native -C link-arg=-fuse-ld=lld" \
    CARGO_INCREMENTAL=0 \
    CARGO_TERM_COLOR=always
WORKDIR ${PREFIX}/src/../src/${BRANCH}
USER ${UID:-1000}:${GID:-1000}

FROM sources AS debug
ARG PROFILE=debug FEATURES="a,b,c"
RUN --mount=type=cache,target=/cargo/registry,id=registry-${PROFILE} \
    --mount=type=cache,target=/cargo/target,id=target-${PROFILE},uid=1000,gid=1000,mode=0755 \
    cargo build --profile "$PROFILE" --features="${FEATURES}" && \
    cp "/cargo/target/${PROFILE}/app" "/tmp/app-${PROFILE/debug/dev}"
RUN echo "first: $PROFILE" \
    && echo 'second: $PROFILE' \
    && echo third: \$PROFILE \
    && echo "fourth: ${PROFILE:+set} ${MISSING:-unset} ${FEATURES%%,*} ${FEATURES##*,}"
ENV APP=/tmp/app-${PROFILE} APP_FEATURES="${FEATURES//,/ }"
COPY --from=tools --chown=0:0 /usr/local/bin/wait.sh /usr/local/bin/env.sh /usr/local/bin/
EXPOSE 8080/tcp 8443 ${DEBUG_PORT:-9229}/tcp
VOLUME ["/data", "/var/log/app"]
CMD ["/tmp/app-debug", "--verbose"]

FROM sources AS release
ARG PROFILE=release
ARG FEATURES
RUN --mount=type=cache,target=/cargo/registry,id=registry-${PROFILE} \
    --mount=type=cache,target=/cargo/target,id=target-${PROFILE},uid=1000,gid=1000,mode=0755 \
    cargo build --profile "$PROFILE" ${FEATURES:+--features="$FEATURES"} && \
    install -D "/cargo/target/${PROFILE}/app" "/out/bin/app" && \
    strip /out/bin/app
RUN <<'EOT' <<-CONFIG cat >> /out/config
first literal ${body} with "quotes"
second line
third line of it
EOT
	profile=$PROFILE
	prefix=${PREFIX}
	CONFIG
RUN --network=none /out/bin/app --version | grep -F "${RUST}"
ENV APP=/out/bin/app
LABEL profile=${PROFILE} features="${FEATURES:-none}" \
      "a key with blanks"="a value with \"quotes\" and \$dollars"
STOPSIGNAL SIGTERM

FROM node:22-slim AS web
ARG NODE_ENV=production
ENV NODE_ENV=$NODE_ENV \
    NPM_CONFIG_CACHE=/npm \
    API_URL="https://api.example.com/v1?key=${API_KEY:-none}&env=${NODE_ENV}"
WORKDIR /web
COPY web/package.json web/package-lock.json ./
RUN --mount=type=cache,target=/npm \
    npm ci --no-audit --no-fund && \
    npm ls --all > /tmp/dependencies.txt || true
COPY web/ ./
RUN <<EOT
#!/usr/bin/env node
const fs = require("fs");
const config = { url: process.env.API_URL, env: "$NODE_ENV" };
fs.writeFileSync("config.json", JSON.stringify(config, null, 2));
EOT
RUN ["npm", "run", "build", "--", "--mode", "production", "--out \"dist\""]
COPY <<EOT <<nginx.conf /web/dist/
User-agent: *
Disallow: /private/${NODE_ENV}
EOT
server { listen 80; root /web/dist; }
nginx.conf
ONBUILD COPY --chown=101:101 public/ /web/dist/
ONBUILD RUN test -e /web/dist/index.html

FROM release AS test
ARG TEST_THREADS=4
ENV RUST_BACKTRACE=1 RUST_LOG="app=debug,${RUST_LOG:-info}" TEST_THREADS=${TEST_THREADS}
COPY --from=debug /tmp/app-debug /usr/local/bin/app-debug
COPY --from=web /web/dist /srv/web
RUN --mount=type=tmpfs,target=/tmp,size=64m \
    --mount=from=web,source=/web,target=/mnt/web \
    cargo test --workspace -- --test-threads="${TEST_THREADS}" 2>&1 \
    | tee /out/test.log
RUN test "$(wc -l < /out/test.log)" -gt 0 && \
    if [ "$RUST_BACKTRACE" = 1 ]; then echo "with backtraces"; fi && \
    for f in a b c; do echo "${f}"; done
WORKDIR relative/${TEST_THREADS}
USER root

FROM release AS documentation
ARG THEME='dark blue'
ENV DOCS=/docs THEME=${THEME}
COPY docs/**/*.md README.md ${DOCS}/
COPY --from=tools --link /usr/local/bin/ /usr/local/bin/
ADD docs.tar.gz ${DOCS}/archive
RUN mdbook build "${DOCS}" --dest-dir "${DOCS}/out" \
    # comments stand between continued lines

    && echo "theme=${THEME}" >> "${DOCS}/out/theme" \
    && find ${DOCS} -name '*.md' -exec rm {} \; 
ENV BOOK=${DOCS}/out
LABEL documentation="${BOOK}" theme="${THEME#dark }"
ENTRYPOINT ["mdbook", "serve", "--hostname", "0.0.0.0"]
CMD ["--port", "3000"]

FROM scratch AS artifacts
COPY --from=release /out/bin/app /bin/app
COPY --from=web /web/dist /srv
COPY --from=documentation /docs/out /docs
COPY --from=test /out/test.log /test.log
COPY --from=ghcr.io/example/extra:v1.2@sha256:24c7fded390f4a5cb1f6a1f6a7d6aad0a1d8a4d1e4f6b37a9d1fd9ac1b39b5f3 /x /x

FROM gcr.io/distroless/cc-debian12:nonroot AS final
ARG VERSION=0.0.0-dev REVISION CREATED
ENV VERSION=${VERSION} HOME=/home/nonroot \
    CONFIG="/etc/app/${VERSION%%-*}.toml"
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION:-unknown}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=artifacts --chown=nonroot:nonroot --chmod=u=rwX,go=rX / /app/
COPY --chown=nonroot <<EOT /etc/app/${VERSION}.toml
version = "$VERSION"
[server]
port = ${PORT:-8080}
EOT
WORKDIR /app
USER nonroot
RUN --security=sandbox ["/app/bin/app", "check", "--path", "/app", "--name", "tab\tand \u00e9"]
ENV A0=${VERSION}-0 A1="${A0:-x} $A0" A2=${A1+"set"} A3=${A2:+${A1:-${A0}}}
ENV A4=${A3#set} A5=${A3##*t} A6=${A3%t} A7=${A3/s/S} A8=${A3//e/E}
ENV LEGACY the rest of the line, "quotes" $VERSION included
ARG B0=${A0} B1="$A1" B2='$A2' B3=$A3
COPY --parents --exclude=**/*.o a/./b c/${B0}/d ${B1:-e}/ /parents/
ADD --unpack=false https://example.com/a.tar.gz?version=${VERSION} /archives/
RUN cat <<A <<B \
    && echo "$(cat)" \
    && true
$A0
A
$B0
B
# two comments
# in a row
VOLUME /app/data /app/${B0}
EXPOSE 8080 8443/tcp
HEALTHCHECK --interval=30s --start-period=5s CMD /app/bin/app health || exit 1
ENTRYPOINT ["/app/bin/app"]
CMD ["--config", "/etc/app/app.toml", "--listen", ":8080"]
