"""Sends one frame: send_frame.py split|tun INTERFACE HEX

split: with nothing but the Ethernet header in the linear part of the skb (the
frame must be longer than a page). tun: as received by the tun device, from its IP header on.
"""

import fcntl
import os
import socket
import struct
import sys

SOL_PACKET, PACKET_VNET_HDR = 263, 15
TUNSETIFF, IFF_TUN_WITHOUT_HEADER = 0x400454CA, 0x1001

how, interface, frame = sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3])
if how == "tun":
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", interface.encode(), IFF_TUN_WITHOUT_HEADER))
    os.write(tun, frame)
else:
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    # struct virtio_net_hdr: no offloads, header length 14.
    sender.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    frame = struct.pack("=BBHHHH", 0, 0, 14, 0, 0, 0) + frame
    sender.bind((interface, 0))
    sender.send(frame)
