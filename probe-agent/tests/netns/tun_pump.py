"""Joins two devices, each in its namespace: tun_pump.py tun|tap ARPHRD NETNS LINK NETNS LINK

What one sends the other receives. ARPHRD is the type that a tun device pretends to have, 0 for its
own. The devices are gone when the pump ends.
"""

import ctypes
import fcntl
import os
import select
import struct
import sys

TUNSETIFF, TUNSETLINK = 0x400454CA, 0x400454CD
FLAGS = {"tun": 0x1001, "tap": 0x1002}  # without packet information
CLONE_NEWNET = 0x40000000


def device(mode, arphrd, netns, link):
    namespace = os.open("/run/netns/" + netns, os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns " + netns)
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", link.encode(), FLAGS[mode]))
    if arphrd:
        fcntl.ioctl(tun, TUNSETLINK, arphrd)
    return tun


mode, arphrd = sys.argv[1], int(sys.argv[2])
one = device(mode, arphrd, *sys.argv[3:5])
other = device(mode, arphrd, *sys.argv[5:7])
opposite = {one: other, other: one}
while True:
    for readable in select.select([one, other], [], [])[0]:
        packet = os.read(readable, 65536)
        try:
            os.write(opposite[readable], packet)
        except OSError:
            pass  # that end is not up yet
