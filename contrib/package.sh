#!/bin/sh
# Makes target/debian/sluicegate_*.deb, and target/generate-rpm/sluicegate-*.rpm where cargo-generate-rpm is there; needs
# cargo-deb (cargo install cargo-deb cargo-generate-rpm), dpkg and binutils. With a target's name as argument, such as
# x86_64-unknown-linux-musl, the program is built for that one; where it does not run here, qemu-user has to.
# The program is built by cargo-auditable where that is there: what it was made of is then written in it.
# SLUICEGATE_BUILT=1: it is built already.
set -eu
cd "$(dirname "$0")/.."
target=${1:-}
machine=${target%%-*}
machine=${machine:-$(uname -m)}
folder=target/${target:+$target/}release

if [ -z "${SLUICEGATE_BUILT:-}" ]; then
    auditable=
    if cargo auditable --version >/dev/null 2>&1; then auditable=auditable; fi
    # shellcheck disable=SC2086 # one word each, or none
    cargo $auditable build --locked --release --bin sluicegate ${target:+--target=$target}
fi
emulator=
if [ "$machine" != "$(uname -m)" ]; then emulator=qemu-$machine-static; fi
sluicegate() { $emulator "$folder/sluicegate" "$@"; }

mkdir -p target/package
for shell in bash zsh fish; do
    sluicegate completions $shell > target/package/sluicegate.$shell
done
sluicegate man > target/package/sluicegate.1
version=$(sluicegate --version | cut -d' ' -f2)
# Without what only a debugger wants.
"${emulator:+$machine-linux-gnu-}strip" -o target/package/sluicegate "$folder/sluicegate"

maintainer=$(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
cat > target/package/changelog <<CHANGELOG
sluicegate ($version-1) unstable; urgency=medium

  * See CHANGELOG.md.

 -- $maintainer  $(date -R -u -d "@$SOURCE_DATE_EPOCH")
CHANGELOG
# shellcheck disable=SC2086
cargo deb --no-build --no-strip --output target/debian/ ${target:+--target=$target}
if cargo generate-rpm --version >/dev/null 2>&1; then
    # A static program needs no library.
    case $target in *-musl) requires=disabled ;; *) requires=builtin ;; esac
    mkdir -p target/generate-rpm
    # shellcheck disable=SC2086
    cargo generate-rpm --output "target/generate-rpm/sluicegate-$version-1.$machine.rpm" --arch "$machine" \
        --auto-req $requires ${target:+--target=$target}
fi
