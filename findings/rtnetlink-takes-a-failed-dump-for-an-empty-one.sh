#!/usr/bin/env bash
# rtnetlink 0.24.0 with netlink-proto and netlink-packet-core 0.9.0: a dump that the kernel refuses or
# breaks off looks like a dump that has ended.
#
# Linux ends each dump with NLMSG_DONE, and puts the error of a dump that failed into that message
# (netlink_dump_done() in net/netlink/af_netlink.c). The links of a namespace id that does not exist
# (IFLA_TARGET_NETNSID, rtnl_dump_ifinfo() in net/core/rtnetlink.c) are refused so: EINVAL.
#
# One would expect: the stream gives an error with the errno of the kernel.
# Seen: the stream gives no link and no error. "There are no links" and "the kernel would not say"
# are the same to the caller; so are a whole list and one that broke off in the middle.
#
# Needs Linux 4.20 or newer, root (a network namespace of its own), strace, cargo.
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
netlink-packet-core = "=0.9.0"
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
    for asked in [None, Some(12345)] {
        let mut dump = handle.link().get();
        if let Some(id) = asked {
            dump.message_mut().attributes.push(LinkAttribute::IfNetnsId(id));
        }
        let answer: Result<Vec<_>, _> = dump.execute().try_collect().await;
        match answer {
            Ok(links) => println!("namespace id {asked:?}: {} links, no error", links.len()),
            Err(error) => println!("namespace id {asked:?}: error: {error}"),
        }
    }
}
RUST
cargo build --quiet --manifest-path "$work/Cargo.toml" --target-dir "$work/target"
unshare --net strace -f -e trace=recvfrom,recvmsg -o "$work/trace" "$work/target/debug/links" >"$work/seen"
cat "$work/seen"
echo "the kernel's answers:"
grep -ao 'NLMSG_DONE.*' "$work/trace" | cut -c1-120
if grep -q 'NLMSG_DONE.*}, -22]' "$work/trace" && grep -q 'Some(12345): 0 links, no error' "$work/seen"; then
    echo "as seen before: the kernel says EINVAL (-22), and the caller sees an empty list"
else
    echo "CHANGED: the error reaches the caller, or the kernel does not refuse"
    exit 1
fi
