"""Sends UDP datagrams that the kernel cuts: send_segments.py FROM TO PORT SIZE OCTETS TIMES [OPTIONS]

Each time one write of so many octets, to be cut into datagrams of so many (UDP_SEGMENT). OPTIONS
are bytes in hexadecimal: of the IPv4 header, or of an IPv6 destination options header.
"""

import socket
import sys

UDP_SEGMENT = 103  # linux/udp.h
IPV6_DSTOPTS = 59  # linux/in6.h

source, to, port, size, octets, times = sys.argv[1:7]
family = socket.AF_INET6 if ":" in to else socket.AF_INET
sender = socket.socket(family, socket.SOCK_DGRAM)
sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, int(size))
if len(sys.argv) > 7:
    options = bytes.fromhex(sys.argv[7])
    if family == socket.AF_INET:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, options)
    else:
        sender.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, options)
sender.bind((source, 40000))
for _ in range(int(times)):
    sent = sender.sendto(bytes(int(octets)), (to, int(port)))
    assert sent == int(octets), sent
