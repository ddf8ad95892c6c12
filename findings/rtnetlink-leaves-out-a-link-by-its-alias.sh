#!/usr/bin/env bash
# rtnetlink 0.24.0 with netlink-packet-route 0.34.0: a link whose alias is not UTF-8 is missing from
# the dump of all links, and nothing says so.
#
# Linux takes any octets as the alias of a link (`ip link set … alias`, IFLA_IFALIAS in
# net/core/rtnetlink.c has a length and no character set). Descriptions in Latin-1 come from network
# equipment and old scripts.
#
# One would expect: the dump lists the link, with its alias as octets or with replacement characters;
# or the stream gives an error.
# Seen: the stream gives every other link and ends well. The refused message reaches only the `log`
# crate, where nothing reads it by default. A program that captures, counts or cleans up "all links"
# passes the link over.
#
# Needs Linux, root (a network namespace of its own), iproute2, cargo.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/src"
cat >"$work/Cargo.toml" <<'TOML'
[package]
name = "links"
version = "0.0.0"
edition = "2021"

[workspace]

[dependencies]
futures-util = "=0.3.34"
netlink-packet-route = "=0.34.0"
rtnetlink = "=0.24.0"
tokio = { version = "=1.54.1", features = ["macros", "rt"] }
TOML
cat >"$work/src/main.rs" <<'RUST'
use futures_util::TryStreamExt;
use netlink_packet_route::link::LinkAttribute;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (connection, handle, _) = rtnetlink::new_connection().unwrap();
    tokio::spawn(connection);
    let mut links = handle.link().get().execute();
    loop {
        match links.try_next().await {
            Ok(Some(link)) => {
                for attribute in link.attributes {
                    if let LinkAttribute::IfName(name) = attribute {
                        println!("link {name}");
                    }
                }
            }
            Ok(None) => return println!("end"),
            Err(error) => return println!("error: {error:?}"),
        }
    }
}
RUST
cargo build --quiet --manifest-path "$work/Cargo.toml" --target-dir "$work/target"
unshare --net bash -eu <<SHELL >"$work/seen"
ip link add first type veth peer name second
"$work/target/debug/links"
ip link set second alias $'B\xfcro'
echo "with the alias:"
"$work/target/debug/links"
SHELL
cat "$work/seen"
before=$(sed '/with the alias/,$d' "$work/seen")
after=$(sed '1,/with the alias/d' "$work/seen")
[[ $(grep -c '^link ' <<<"$before") -eq 3 ]] || { echo "CHANGED: 3 links were expected before"; exit 1; }
if [[ $(grep -c '^link ' <<<"$after") -eq 2 ]] && ! grep -q 'link second\|error' <<<"$after"; then
    echo "as seen before: the link with the alias is missing, and the dump ends without an error"
else
    echo "CHANGED: the link is listed, or there is an error"
    exit 1
fi
