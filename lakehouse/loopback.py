"""This machine is asked directly, whatever proxy the environment names for the rest of the world."""

from __future__ import annotations

from collections.abc import MutableMapping

_HERE = ("127.0.0.1", "localhost")


def ask_directly(environment: MutableMapping[str, str]) -> None:
    """Adds this machine to the hosts that no proxy is asked for, for this process and those that it starts: urllib,
    requests, httpx and curl all look there. What is there already stays.
    """
    # Programs prefer the lower-case name where both are there.
    named = environment.get("no_proxy", environment.get("NO_PROXY", ""))
    hosts = [host.strip() for host in named.split(",") if host.strip()]
    if "*" not in hosts:
        hosts += [host for host in _HERE if host not in hosts]
    environment["no_proxy"] = environment["NO_PROXY"] = ",".join(hosts)
