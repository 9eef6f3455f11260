# A static program in an image that holds little else:
#
#     docker build -t sluicegate .
#     docker run -p 8080:8080 --env-file keys.env --stop-timeout 330 sluicegate
#
# keys.env holds GOMODEL_MASTER_KEY=… beside the providers' keys. Without a key for its clients the gateway listens on the
# container's own loopback, where nobody reaches it; SLUICEGATE_LISTEN=0.0.0.0:8080 opens it to everyone who does.
#
# Docker's default seccomp profile refuses io_uring, and the gateway runs on epoll then; its first log line says which.
# To have io_uring, take that profile, add io_uring_setup, io_uring_enter and io_uring_register to the calls that it
# allows, and run with `--security-opt seccomp=FILE --ulimit memlock=-1`.
FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends musl-tools && rm -rf /var/lib/apt/lists/*
RUN rustup target add x86_64-unknown-linux-musl
WORKDIR /src
COPY . .
RUN cargo build --locked --release --bin sluicegate --target x86_64-unknown-linux-musl

# Certificates of public authorities and the account nonroot; no shell.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /src/target/x86_64-unknown-linux-musl/release/sluicegate /usr/bin/sluicegate
EXPOSE 8080
# Finds the gateway as it is configured.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/usr/bin/sluicegate", "health"]
# Ends what is under way, for up to timeouts.drain: give it as long (--stop-timeout, stop_grace_period).
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/sluicegate"]
