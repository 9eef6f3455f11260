#!/usr/bin/env bash
# Builds the pinned version where definition.json says that the binary is; nothing is built while anything is measured.
# Another one, from elsewhere: BENCH_SLUICEGATE_REPO and BENCH_SLUICEGATE_COMMIT.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=${BENCH_SLUICEGATE_REPO:-$(sed -n 's/^ *"repo": "\(.*\)",$/\1/p' "$here/definition.json")}
commit=${BENCH_SLUICEGATE_COMMIT:-v0.1.0}

if [[ $repo == *.invalid/* ]]; then
    echo "build: $repo is nobody's address: put the public one into definition.json, or set BENCH_SLUICEGATE_REPO" >&2
    exit 1
fi
# A compiler for the C of the TLS library.
if ! cc --version >/dev/null 2>&1; then
    sudo -n DEBIAN_FRONTEND=noninteractive apt-get install -y -q gcc libc6-dev
fi
[ -d "$here/src" ] || git clone --quiet --no-checkout "$repo" "$here/src"
git -C "$here/src" remote set-url origin "$repo"
git -C "$here/src" fetch --quiet --tags origin
# Where it is the name of a branch there, what that is now.
revision=$(git -C "$here/src" rev-parse --verify --quiet "origin/$commit^{commit}" ||
    git -C "$here/src" rev-parse --verify --quiet "$commit^{commit}") || {
    echo "build: $repo has no $commit" >&2
    exit 1
}
git -C "$here/src" checkout --quiet --detach "$revision"
(cd "$here/src" && cargo build --locked --release --bin sluicegate)

binary=$here/src/target/release/sluicegate
echo "build: $binary, $("$binary" --version) at ${revision:0:12}"
