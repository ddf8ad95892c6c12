"""Sends the frames of a capture file, as fast as the interface takes them, again and again.

    send_frames.py INTERFACE PCAP LOOPS [PAUSE]

PCAP is little-endian, of Ethernet frames. PAUSE is the time in seconds between two loops. Prints one
line of JSON: the loops, the seconds that they took, and by its number each frame that the kernel
refuses to send, with its reason. SIGTERM ends it after the running loop.

sendmmsg (Linux 3.0) hands over a thousand frames a call, which Python's socket module does not know.
"""

import ctypes
import errno
import json
import os
import signal
import socket
import struct
import sys
import time

BATCH = 1024  # UIO_MAXIOV: the most that one call takes
ETH_P_NONE = 0  # receive nothing


class iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class msghdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.POINTER(iovec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class mmsghdr(ctypes.Structure):
    _fields_ = [("hdr", msghdr), ("len", ctypes.c_uint32)]


def frames_of(path):
    with open(path, "rb") as capture:
        data = capture.read()
    frames, offset = [], 24
    while offset < len(data):
        (length,) = struct.unpack_from("<8xI4x", data, offset)
        frames.append(data[offset + 16 : offset + 16 + length])
        offset += 16 + length
    return frames


interface, path, loops = sys.argv[1], sys.argv[2], int(sys.argv[3])
pause = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0

frames = frames_of(path)
buffers = [ctypes.create_string_buffer(frame, len(frame)) for frame in frames]
vectors = (iovec * len(frames))()
messages = (mmsghdr * len(frames))()
for vector, message, buffer in zip(vectors, messages, buffers):
    vector.base, vector.len = ctypes.addressof(buffer), len(buffer)
    message.hdr.iov, message.hdr.iovlen = ctypes.pointer(vector), 1

sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, ETH_P_NONE)
sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
sender.bind((interface, ETH_P_NONE))
libc = ctypes.CDLL(None, use_errno=True)
refused = {}
is_ended = False


def end(*_):
    global is_ended
    is_ended = True


def send_all():
    position = 0
    while position < len(frames):
        batch = min(BATCH, len(frames) - position)
        sent = libc.sendmmsg(sender.fileno(), ctypes.byref(messages[position]), batch, 0)
        if sent >= 0:
            position += sent
            continue
        error = ctypes.get_errno()
        if error in (errno.EINTR, errno.ENOBUFS):
            continue
        refused[position] = os.strerror(error)
        position += 1


signal.signal(signal.SIGTERM, end)
print("sending", file=sys.stderr, flush=True)
done, began = 0, time.monotonic()
while done < loops and not is_ended:
    send_all()
    done += 1
    if pause:
        time.sleep(pause)
seconds = time.monotonic() - began
print(json.dumps({"loops": done, "seconds": seconds, "refused": refused}))
