#!/bin/sh
# Makes target/debian/sluicegate_*.deb; needs cargo-deb (cargo install cargo-deb) and dpkg. With a target's name as
# argument, such as x86_64-unknown-linux-musl, the program is built for that one.
set -eu
cd "$(dirname "$0")/.."
target=${1:+--target=$1}
folder=target/${1:+$1/}release

# shellcheck disable=SC2086 # one word, or none
cargo build --locked --release --bin sluicegate $target
mkdir -p target/package
for shell in bash zsh fish; do
    "$folder/sluicegate" completions $shell > target/package/sluicegate.$shell
done
"$folder/sluicegate" man > target/package/sluicegate.1
version=$("$folder/sluicegate" --version | cut -d' ' -f2)
maintainer=$(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)
cat > target/package/changelog <<END
sluicegate ($version-1) unstable; urgency=medium

  * See CHANGELOG.md.

 -- $maintainer  $(date -R -u -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}")
END
# shellcheck disable=SC2086
cargo deb --no-build --strip $target
