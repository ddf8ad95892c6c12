#!/usr/bin/env bash
# Linux 6.18: by the counters of a bridge less comes back than is sent, although each packet is answered by
# one of the same size: what it receives counts without the Ethernet header, what it sends with it. A
# macvlan beside it counts the header both ways, a vxlan neither way.
#
# include/uapi/linux/if_link.h says of rx_bytes and tx_bytes of rtnl_link_stats64: "For IEEE 802.3 devices
# should count the length of Ethernet Frames excluding the FCS."
#
# One would expect: a ping and its answer, 128 octets of IP each, count as 142 both ways on all three.
# Seen (octets beside the IP packet, received and sent): bridge 0 and 14, macvlan 14 and 14, vxlan 0 and 0.
# Rates from these counters differ by direction (a tenth at 128 octets), and a port and its bridge do not
# agree. The bridge counts a received frame after its header was pulled (br_pass_frame_up).
#
# Needs Linux, root (network namespaces of its own), iproute2, ping, jq.
set -euo pipefail
uname -r
ip -V
unshare --net bash -euo pipefail <<'SHELL'
ip link set lo up
unshare --net sleep 60 &
peer=$!
trap 'kill "$peer"' EXIT
until [[ "$(readlink /proc/$peer/ns/net)" != "$(readlink /proc/self/ns/net)" ]]; do sleep 0.1; done
far() { nsenter --net --target "$peer" "$@"; }
for link in port lower wire; do
    ip link add "$link" type veth peer name "$link" netns "$peer"
done
near_and_far() { "$@"; far "$@"; }
# Beside the answers to a ping nothing is to be sent.
quiet() { "$@" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1; }
quiet env
quiet far
ip link add bridge0 type bridge
ip link set port master bridge0
ip link add link lower name macvlan0 type macvlan mode bridge
for link in port lower wire; do near_and_far ip link set "$link" up; done
ip address add 198.19.0.1/24 dev wire
far ip address add 198.19.0.2/24 dev wire
ip link add vxlan0 type vxlan id 7 remote 198.19.0.2 dstport 4789
far ip link add vxlan0 type vxlan id 7 remote 198.19.0.1 dstport 4789
subnet=1
for pair in bridge0:port macvlan0:lower vxlan0:vxlan0; do
    ip link set "${pair%:*}" up
    far ip link set "${pair#*:}" up
    ip address add "198.18.$subnet.1/24" dev "${pair%:*}"
    far ip address add "198.18.$subnet.2/24" dev "${pair#*:}"
    subnet=$((subnet + 1))
done
counters() { ip -json -statistics link show "$1" | jq -r '.[0].stats64 | [.rx.packets, .rx.bytes, .tx.packets, .tx.bytes] | @tsv'; }
changed=0
# packets of 100 octets, 8 of ICMP and 20 of IP
check() { # link, subnet, expected received, expected sent
    ping -q -n -c 2 -i 0.1 "198.18.$2.2" >/dev/null # neighbours are known from here on
    sleep 0.5
    read -r rx_packets_before rx_before tx_packets_before tx_before < <(counters "$1")
    ping -q -n -c 10 -i 0.01 -s 100 "198.18.$2.2" >/dev/null
    read -r rx_packets rx tx_packets tx < <(counters "$1")
    received=$(((rx - rx_before) / (rx_packets - rx_packets_before) - 128))
    sent=$(((tx - tx_before) / (tx_packets - tx_packets_before) - 128))
    echo "$1: $((rx_packets - rx_packets_before)) packets received, $received octets each beside IP; $((tx_packets - tx_packets_before)) sent, $sent each"
    [[ $received -eq $3 && $sent -eq $4 ]] || changed=1
}
check bridge0 1 0 14
check macvlan0 2 14 14
check vxlan0 3 0 0
if [[ $changed -eq 0 ]]; then
    echo "as seen before: the same packets count differently by direction and kind of device"
else
    echo "CHANGED: the counters of these devices count other octets than before"
    exit 1
fi
SHELL
