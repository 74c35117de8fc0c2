"""Where processes listen, and what they say to whoever asks."""

from __future__ import annotations

import socket
import struct
from pathlib import Path


def listening(pid: int) -> set[str]:
    """Local addresses, in the kernel's hexadecimal, on which a process listens; none of one that has ended."""
    inodes = set()
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return set()
    for descriptor in descriptors:
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:  # closed since it was listed: the broker goes on while it is looked at
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                addresses.add(fields[1].rsplit(":", 1)[0])
    return addresses


def kafka_describes_quorum(port: int) -> bytes:
    """What Kafka answers to somebody without a login who asks for its quorum, a question that each listener knows;
    nothing when it closes the connection.
    """
    question = struct.pack(">hhihBBB", 55, 0, 1, -1, 0, 1, 0)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as stranger:
        stranger.sendall(struct.pack(">i", len(question)) + question)
        return stranger.recv(4096)
