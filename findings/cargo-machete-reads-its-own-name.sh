#!/usr/bin/env bash
# cargo-machete 0.9.2: started by a program that `cargo run` started, it takes its own name for a
# folder.
#
# Cargo calls a subcommand with its name as the first argument (`cargo-machete machete …`), and
# cargo-machete drops that word. It asks whether CARGO_PKG_NAME is set to tell that Cargo did not call
# it. But `cargo run` sets that variable for every program, and so for tasks of the common "xtask" kind,
# whose `cargo machete` then inherits it.
#
# One would expect: `cargo machete` gives the same answer whatever started it.
# Seen: with CARGO_PKG_NAME set it looks for the folder `machete` and fails.
#
# Needs cargo.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo install --quiet --locked --root "$work" cargo-machete --version 0.9.2
export PATH="$work/bin:$PATH"
mkdir -p "$work/project/src"
cd "$work/project"
printf '[package]\nname = "clean"\nversion = "0.0.0"\nedition = "2021"\n\n[workspace]\n' >Cargo.toml
echo 'fn main() {}' >src/main.rs
echo "== cargo machete"
plain=0
env -u CARGO_PKG_NAME cargo machete || plain=$?
echo "== CARGO_PKG_NAME=xtask cargo machete"
inherited=0
CARGO_PKG_NAME=xtask cargo machete || inherited=$?
if [[ $plain -eq 0 && $inherited -ne 0 ]]; then
    echo "as seen before: exit $plain, and exit $inherited with the variable"
else
    echo "CHANGED: exit $plain, and exit $inherited with the variable"
    exit 1
fi
