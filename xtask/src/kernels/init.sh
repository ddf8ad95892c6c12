#!/bin/sh
# The first process of a kernel under test: no distribution, no disk, only what lies beside it.
# Each line that starts with "verdict" is read by `cargo xtask kernels`, and each that the tests
# start with "kind".
export PATH=/bin LANG=C.UTF-8
# With a path, ip and tc are iproute2's: busybox prefers its own under the bare name.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/netns
echo "verdict kernel $(uname -r)"

for module in /modules/*.ko; do
    insmod "$module"
done
# Tunnels without ends, one per kind and namespace, are in nobody's way, but take time.
echo 1 >/proc/sys/net/core/fb_tunnels_only_for_init_net
/bin/ip link set lo up

/bin/ip netns add peer
/bin/ip link add probe0 type veth peer name peer0 netns peer
/bin/ip addr add 198.18.0.1/24 dev probe0
/bin/ip link set probe0 up
/bin/ip netns exec peer ip addr add 198.18.0.2/24 dev peer0
/bin/ip netns exec peer ip link set peer0 up

probe-agent selftest
echo "verdict selftest $?"

probe-agent run --config /probe.yaml &
agent=$!
metrics() {
    wget -q -O - http://127.0.0.1:9478/metrics
}
# wait_for SECONDS COMMAND...
wait_for() {
    left=$1
    shift
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 1
    done
}
ready() {
    wget -q -O /dev/null http://127.0.0.1:9478/readyz 2>/dev/null
}
wait_for 300 ready
/bin/ip netns exec peer ping -A -c 100 -q 198.18.0.1 | grep packets
# Both ways.
counted() {
    metrics | grep -Eq '^probe_packets_processed_total\{iface="probe0"\} 2[0-9][0-9]$'
}
wait_for 60 counted
metrics | grep -E '^probe_(packets_processed_total|ledger_residue_packets|attached_interfaces)' |
    while read -r series value; do
        echo "verdict $series $value"
    done
# How far the verifier had to walk for the largest program. (5.16 and newer tell.)
echo "verdict steps $(cat /proc/"$agent"/fdinfo/* 2>/dev/null | grep verified_insns | tr -dc '0-9\n' | sort -n | tail -n 1)"
kill -TERM "$agent"
wait "$agent"
echo "verdict stopped $?"
echo "verdict left $(for hook in ingress egress; do /bin/tc filter show dev probe0 $hook; done | grep -c bpf)"
cat /flows/iface=probe0/*/*.jsonl | grep '"ip_protocol":1,' | while read -r line; do
    echo "verdict flow $line"
done

# Emulation takes many times as long as the host would.
env CARGO_BIN_EXE_probe-agent=/bin/probe-agent PROBE_TEST_SLOWNESS=10 PROBE_REQUIRE_KERNEL=1 \
    timeout -s KILL 1600 netns --nocapture --test-threads=1 --exact link_kinds::all_kinds_in_turn_under_one_agent \
    link_counters::the_page_says_what_the_counters_of_each_kind_count \
    plan::selection::links_on_top_of_captured_ones_are_left_out 2>&1
echo "verdict kinds $?"
poweroff -f
