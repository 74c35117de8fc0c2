"""Variables that Kubernetes and Docker's links set for each Service of a namespace: they are no settings of ours."""

from __future__ import annotations

import re
from collections.abc import MutableMapping

_NAME = r"SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?"
_ADDRESS = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)


def drop_service_links(environment: MutableMapping[str, str], prefix: str) -> None:
    """Takes away those of Services whose names begin as our settings do, such as `lakehouse-live`. Of
    `LAKEHOUSE_LIVE_PORT`, which a person may set too, the value tells who has set it.
    """
    link = re.compile(rf"{prefix}(\w+_)?({_NAME})")
    for name, value in list(environment.items()):
        is_port = name.startswith(prefix) and name.endswith("_PORT")
        if link.fullmatch(name) or (is_port and _ADDRESS.match(value)):
            del environment[name]
