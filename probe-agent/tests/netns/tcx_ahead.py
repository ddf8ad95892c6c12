"""A TCX program before all others that lets four in five received packets pass them: tcx_ahead.py IFINDEX

Prints a line when it is attached, and detaches it when its input ends.
"""

import ctypes
import os
import platform
import struct
import sys

# linux/bpf.h
BPF_PROG_LOAD, BPF_LINK_CREATE = 5, 28
BPF_PROG_TYPE_SCHED_CLS = 3
BPF_TCX_INGRESS = 46
BPF_F_BEFORE = 1 << 3
GET_PRANDOM_U32 = 7
TCX_NEXT, TC_ACT_OK = -1, 0
BPF_CALL = {"x86_64": 321, "aarch64": 280}[platform.machine()]


def instruction(code, offset=0, immediate=0):
    return struct.pack("<BBhi", code, 0, offset, immediate)


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(BPF_CALL, command, buffer, 128)
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return fd


program = b"".join(
    [
        instruction(0x85, immediate=GET_PRANDOM_U32),
        instruction(0x94, immediate=5),  # w0 %= 5
        instruction(0x55, offset=2),  # if r0 != 0 skip two
        instruction(0xB7, immediate=TCX_NEXT),
        instruction(0x95),
        instruction(0xB7, immediate=TC_ACT_OK),
        instruction(0x95),
    ]
)
text = ctypes.create_string_buffer(program, len(program))
licence = ctypes.create_string_buffer(b"GPL")
load = struct.pack(
    "<IIQQ", BPF_PROG_TYPE_SCHED_CLS, len(program) // 8, ctypes.addressof(text), ctypes.addressof(licence)
)
link = bpf(
    BPF_LINK_CREATE,
    struct.pack("<IIII", bpf(BPF_PROG_LOAD, load), int(sys.argv[1]), BPF_TCX_INGRESS, BPF_F_BEFORE),
)
print("attached", flush=True)
sys.stdin.read()
os.close(link)
