# A static program in an image that holds nothing else but the certificates of public authorities:
#
#     docker build -t sluicegate .
#     docker run -p 127.0.0.1:8080:8080 --env-file keys.env --stop-timeout 330 sluicegate
#
# contrib/compose.yaml does the same with less to type, confined further and on io_uring. keys.env holds
# GOMODEL_MASTER_KEY=… beside the providers' keys (contrib/keys.env.example). Without a key for its clients the gateway
# listens on the container's own loopback, where nobody reaches it; SLUICEGATE_LISTEN=0.0.0.0:8080 opens it to everyone
# who does.
#
# Docker's default seccomp profile refuses io_uring, and the gateway runs on epoll then; its first log line says which.
# To have io_uring: `--security-opt seccomp=contrib/seccomp.json --ulimit memlock=-1`.
FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates musl-tools && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# For the architecture of the machine that builds it, x86_64 or aarch64.
RUN target="$(uname -m)-unknown-linux-musl" \
    && rustup target add "$target" \
    && CARGO_PROFILE_RELEASE_STRIP=symbols cargo build --locked --release --bin sluicegate --target "$target" \
    && install -D "target/$target/release/sluicegate" /image/sluicegate

# No shell, no libraries, no account file: the account is a number.
FROM scratch
LABEL org.opencontainers.image.title="sluicegate" \
      org.opencontainers.image.description="A fast, trustworthy passthrough gateway in front of LLM provider APIs" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /image/sluicegate /sluicegate
USER 65532:65532
EXPOSE 8080
# Finds the gateway as it is configured.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/sluicegate", "health"]
# Ends what is under way, for up to timeouts.drain: give it as long (--stop-timeout, stop_grace_period).
STOPSIGNAL SIGTERM
ENTRYPOINT ["/sluicegate"]
