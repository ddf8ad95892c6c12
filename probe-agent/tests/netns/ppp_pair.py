"""Joins two PPP devices over Ethernet: ppp_pair.py (NETNS LINK LOWER FAR_MAC) twice

Neither discovery nor negotiation: both ends know the session. The devices are gone when this ends.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys

AF_PPPOX, PX_PROTO_OE = 24, 0
PPPIOCGCHAN, PPPIOCATTCHAN = 0x80047437, 0x40047438
PPPIOCNEWUNIT, PPPIOCCONNECT = 0xC004743E, 0x4004743A
SIOCSIFNAME = 0x8923
CLONE_NEWNET = 0x40000000
SESSION = 7

libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def device(netns, link, lower, far_mac):
    namespace = os.open("/run/netns/" + netns, os.O_RDONLY)
    check(libc.setns(namespace, CLONE_NEWNET), "setns " + netns)
    channel = socket.socket(AF_PPPOX, socket.SOCK_STREAM, PX_PROTO_OE)
    mac = bytes.fromhex(far_mac.replace(":", ""))
    address = struct.pack("=HIH6s16s", AF_PPPOX, PX_PROTO_OE, socket.htons(SESSION), mac, lower.encode())
    check(libc.connect(channel.fileno(), address, len(address)), "connect " + lower)
    number = fcntl.ioctl(channel, PPPIOCGCHAN, bytes(4))
    attached = os.open("/dev/ppp", os.O_RDWR)
    fcntl.ioctl(attached, PPPIOCATTCHAN, number)
    unit = os.open("/dev/ppp", os.O_RDWR)
    number = fcntl.ioctl(unit, PPPIOCNEWUNIT, struct.pack("i", -1))
    fcntl.ioctl(attached, PPPIOCCONNECT, number)
    name = "ppp%d" % struct.unpack("i", number)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFNAME, struct.pack("16s16s8x", name.encode(), link.encode()))
    return channel, attached, unit


open_files = [device(*sys.argv[1:5]), device(*sys.argv[5:9])]
signal.pause()
