"""Runs a command under the restrictions of a systemd unit, by hand: PID 1 of a test machine is
rarely systemd.

    confine.py UNIT USER_ID STATE RUNTIME -- COMMAND...

Taken from the unit: capabilities, no_new_privs, system calls, address families, memory that is
writable and executable, what of /proc is seen, and a file system that is read-only but for the two
folders (those of StateDirectory= and RuntimeDirectory=). The limits on resources are not, nor are
restrictions that need a cgroup. Only for x86_64.
"""

import ctypes
import os
import re
import socket
import struct
import subprocess
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
MOUNT_ATTR_RDONLY, SYS_MOUNT_SETATTR = 1, 442
PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_MDWE = 22, 2, 65
AUDIT_ARCH_X86_64 = 0xC000003E
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
EPERM, EAFNOSUPPORT = 1, 97


def checked(answer, what):
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def unit_settings(path):
    settings = {}
    for line in open(path):
        if match := re.match(r"(\w+)=(.*)", line):
            settings.setdefault(match[1], []).append(match[2])
    return settings


def set_read_only(path, is_read_only):
    attributes = struct.pack(
        "QQQQ",
        MOUNT_ATTR_RDONLY if is_read_only else 0,
        0 if is_read_only else MOUNT_ATTR_RDONLY,
        0,
        0,
    )
    answer = LIBC.syscall(
        SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), AT_RECURSIVE, attributes, len(attributes)
    )
    checked(answer, f"mount_setattr {path}")


def mount(source, target, kind, flags, data=None):
    data = data and data.encode()
    answer = LIBC.mount(source.encode(), target.encode(), kind and kind.encode(), flags, data)
    checked(answer, f"mount {target}")


def confine_files(settings, writable):
    assert settings["ProtectSystem"] == ["strict"]
    checked(LIBC.unshare(CLONE_NEWNS), "unshare")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    for folder in writable:
        mount(folder, folder, None, MS_BIND | MS_REC)
    options = f"hidepid={settings['ProtectProc'][0]},subset={settings['ProcSubset'][0]}"
    mount("proc", "/proc", "proc", 0, options)
    set_read_only("/", True)
    for folder in writable:
        set_read_only(folder, False)


def system_call_numbers():
    header = open("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").read()
    return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header)}


def system_calls(words):
    """Names of system calls; those of a group by systemd's own list."""
    for word in words:
        if word.startswith("@"):
            listed = subprocess.run(
                ["systemd-analyze", "syscall-filter", word],
                check=True, capture_output=True, text=True,
            ).stdout.splitlines()[1:]
            yield from system_calls(
                line.strip() for line in listed if line.strip() and "#" not in line
            )
        else:
            yield word


def allowed_system_calls(settings):
    assert settings["SystemCallErrorNumber"] == ["EPERM"]
    allowed = set()
    for line in settings["SystemCallFilter"]:
        names = set(system_calls(line.removeprefix("~").split()))
        allowed = allowed - names if line.startswith("~") else allowed | names
    # What systemd itself always allows, since it needs it between the filter and the command.
    return allowed | {"execve", "exit", "exit_group", "getrlimit", "rt_sigreturn", "sigreturn"}


def confine_system_calls(settings):
    """A classic BPF program over `struct seccomp_data`: number, architecture, arguments."""
    numbers = system_call_numbers()
    allowed = sorted(numbers[name] for name in allowed_system_calls(settings) if name in numbers)
    families = [
        getattr(socket, name) for name in settings["RestrictAddressFamilies"][0].split()
    ]
    load, equal, answer = 0x20, 0x15, 0x06
    program = [
        (load, 0, 0, 4),
        (equal, 1, 0, AUDIT_ARCH_X86_64),
        (answer, 0, 0, KILL),
        (load, 0, 0, 0),
        # socket(2) by its first argument.
        (equal, 0, len(families) + 3, numbers["socket"]),
        (load, 0, 0, 16),
    ]
    for position, family in enumerate(families):
        program.append((equal, len(families) - position, 0, family))
    program += [(answer, 0, 0, ERRNO | EAFNOSUPPORT), (answer, 0, 0, ALLOW)]
    for number in allowed:
        program += [(equal, 0, 1, number), (answer, 0, 0, ALLOW)]
    program.append((answer, 0, 0, ERRNO | EPERM))
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    code = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    checked(LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0), "seccomp")


def main():
    settings = unit_settings(sys.argv[1])
    if os.geteuid() == 0:
        _, unit, user, state, runtime, _, *command = sys.argv
        confine_files(settings, [state, runtime])
        held = settings["CapabilityBoundingSet"][0].lower().replace("cap_", "+").split()
        ambient = settings["AmbientCapabilities"][0].lower().replace("cap_", "+").split()
        assert settings["NoNewPrivileges"] == ["yes"]
        os.execvp("setpriv", [
            "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs",
            "--bounding-set=" + ",".join(["-all", *held]),
            "--inh-caps=" + ",".join(["-all", *ambient]),
            "--ambient-caps=" + ",".join(["-all", *ambient]),
            sys.executable, __file__, unit, "--", *command,
        ])
    os.umask(int(settings["UMask"][0], 8))
    assert settings["MemoryDenyWriteExecute"] == ["yes"]
    # Since Linux 6.3; the filter of older systemds does the same.
    LIBC.prctl(PR_SET_MDWE, 1, 0, 0, 0)
    confine_system_calls(settings)
    command = sys.argv[3:]
    os.execvp(command[0], command)


main()
