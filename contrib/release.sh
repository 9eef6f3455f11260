#!/usr/bin/env bash
# Makes what a release consists of, in target/release-VERSION: for x86_64 and aarch64 a static program in an archive, a
# .deb and an .rpm, a bill of its parts (CycloneDX), and SHA256SUMS over all of it.
#
#     contrib/release.sh                                       # both
#     contrib/release.sh aarch64-unknown-linux-musl            # one of them
#     contrib/release.sh --test aarch64-unknown-linux-musl     # and its tests, by qemu-user where it does not run here
#
# Static by musl: a static glibc would look names up by modules that it loads from the machine it runs on. The C of the
# TLS library is compiled by Debian's own compilers with musl's headers, and linked by Rust's linker with the musl that
# Rust brings. The same commit gives the same bytes: times are the commit's, or SOURCE_DATE_EPOCH. What it needs it names
# where that is missing; with CI set it runs as root and installs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TERM_COLOR=never LC_ALL=C TZ=UTC
umask 022

targets=() tests=
for argument in "$@"; do
    case $argument in
    --test) tests=yes ;;
    x86_64-unknown-linux-musl | aarch64-unknown-linux-musl) targets+=("$argument") ;;
    *)
        echo "release: $argument is neither --test nor a target: x86_64-unknown-linux-musl, aarch64-unknown-linux-musl" >&2
        exit 2
        ;;
    esac
done
if [ ${#targets[@]} = 0 ]; then targets=(x86_64-unknown-linux-musl aarch64-unknown-linux-musl); fi

here=$(uname -m)
debian() { case $1 in x86_64) echo amd64 ;; aarch64) echo arm64 ;; esac; }

# What is needed, how it shows, and what brings it: apt, cargo or rustup.
missing=()
needs() { "${@:3}" >/dev/null 2>&1 || missing+=("$1 $2"); }
needs apt dpkg-dev dpkg-architecture --version
needs apt git git --version
for tool in cargo-auditable cargo-cyclonedx cargo-deb cargo-generate-rpm; do
    needs cargo $tool command -v $tool
done
for target in "${targets[@]}"; do
    machine=${target%%-*}
    gcc=gcc
    if [ "$machine" != "$here" ]; then gcc=gcc-${machine/_/-}-linux-gnu; fi
    needs apt "$gcc" "$machine-linux-gnu-gcc" --version
    needs apt "musl-dev:$(debian "$machine")" test -e "/usr/include/$machine-linux-musl/stdlib.h"
    if [ "$machine" != "$here" ]; then needs apt qemu-user-static "qemu-$machine-static" --version; fi
    needs rustup "$target" test -d "$(rustc --print sysroot)/lib/rustlib/$target"
done

# All that is missing of one kind.
of() { printf '%s\n' "${missing[@]}" | sed -n "s/^$1 //p"; }
if [ ${#missing[@]} -gt 0 ] && [ -n "${CI:-}" ]; then
    mapfile -t packages < <(of apt)
    if [ ${#packages[@]} -gt 0 ]; then
        for package in "${packages[@]}"; do
            if [[ $package == *:* ]]; then dpkg --add-architecture "${package#*:}"; fi
        done
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}"
    fi
    mapfile -t tools < <(of cargo)
    if [ ${#tools[@]} -gt 0 ]; then
        CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --quiet --debug --target-dir target/tools "${tools[@]}"
    fi
    mapfile -t additions < <(of rustup)
    if [ ${#additions[@]} -gt 0 ]; then rustup target add "${additions[@]}"; fi
elif [ ${#missing[@]} -gt 0 ]; then
    echo "release: this is missing:" >&2
    of apt | sed 's/^/  apt install /; s/\(.*:\)\(.*\)/\1\2    # after dpkg --add-architecture \2, if it is another one/' >&2
    of cargo | sed 's/^/  cargo install --locked /' >&2
    of rustup | sed 's/^/  rustup target add /' >&2
    exit 1
fi

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
out=target/release-$version
rm -rf "$out"
mkdir -p "$out"
if [ -n "$(git status --porcelain)" ]; then echo "release: this is not what is committed: $(git status --short | head -3)" >&2; fi

# How C and Rust are compiled for a target. Paths of this machine do not get into the program.
compilers() {
    local target=$1 machine=${1%%-*} lower=${1//-/_} compiler=${1%%-*}-linux-gnu-gcc
    local upper=${lower^^}
    local headers
    headers="-nostdinc -isystem /usr/include/$machine-linux-musl -isystem $($compiler -print-file-name=include)"
    export "CC_$lower=$compiler" "AR_$lower=$machine-linux-gnu-ar" "CFLAGS_$lower=$headers -ffile-prefix-map=$PWD=."
    export "CARGO_TARGET_${upper}_LINKER=rust-lld"
    local cargo=${CARGO_HOME:-$HOME/.cargo}
    export "CARGO_TARGET_${upper}_RUSTFLAGS=--remap-path-prefix=$PWD=. --remap-path-prefix=$cargo=cargo"
    if [ "$machine" != "$here" ]; then export "CARGO_TARGET_${upper}_RUNNER=qemu-$machine-static"; fi
}

# The archive: one folder, in an order and with owners and times that are the same everywhere.
archive() {
    local target=$1 name=sluicegate-$version-$1 made=target/package
    local folder=target/archive/$name
    rm -rf "$folder"
    mkdir -p "$folder/completions" "$folder/contrib"
    install -m 755 $made/sluicegate "$folder/"
    install -m 644 README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT $made/sluicegate.1 "$folder/"
    install -m 644 $made/sluicegate.bash $made/sluicegate.fish "$folder/completions/"
    install -m 644 $made/sluicegate.zsh "$folder/completions/_sluicegate"
    install -m 644 contrib/sluicegate.toml contrib/sluicegate.service contrib/sluicegate.socket contrib/seccomp.json \
        contrib/dashboard.json contrib/alerts.yaml contrib/keys.env.example "$folder/contrib/"
    install -m 644 contrib/debian/sluicegate.conf "$folder/contrib/sysusers.conf"
    tar --create --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --directory=target/archive "$name" | gzip --no-name --best > "$out/$name.tar.gz"
}

# The bill of its parts; it is written beside Cargo.toml and nowhere else.
parts() {
    local target=$1 name=sluicegate-$version-$1.cdx
    cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --override-filename "$name"
    mv "$name.json" "$out/"
}

for target in "${targets[@]}"; do
    machine=${target%%-*}
    compilers "$target"
    cargo auditable build --locked --release --bin sluicegate --target "$target"
    rm -f target/debian/*.deb target/generate-rpm/*.rpm
    SLUICEGATE_BUILT=1 contrib/package.sh "$target"
    cp target/debian/*.deb target/generate-rpm/*.rpm "$out/"
    archive "$target"
    parts "$target"
    if [ -n "$tests" ]; then
        PROPTEST_CASES=${PROPTEST_CASES:-64} cargo test --locked --lib --target "$target"
        # The real program from outside, by the tests of this machine; an emulator does not know io_uring.
        program=$PWD/target/$target/release/sluicegate
        if [ "$machine" != "$here" ]; then
            printf '#!/bin/sh\nexec qemu-%s-static %s "$@"\n' "$machine" "$program" > "$program-emulated"
            chmod +x "$program-emulated"
            program=$program-emulated
        fi
        SLUICEGATE_TEST_DRIVER=epoll SLUICEGATE_TEST_BIN=$program \
            cargo test --locked --test black_box -- http::framing http::heads relay::streaming relay::tunnels listeners::tls
    fi
done

(
    cd "$out"
    rm -f SHA256SUMS
    sha256sum -- * > SHA256SUMS
)
echo "made in $out:"
cat "$out/SHA256SUMS"
