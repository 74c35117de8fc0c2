"""Kafka Connect's REST interface: what is asked, and every way in which it can refuse."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, urlsplit

from lakehouse.errors import ServiceError, SettingError
from lakehouse.settings import Settings

_ANSWER_S = 100.0  # Connect itself gives up after 90
_PAUSE_S = 0.5
_LATER = (409, 503)
"""A rebalance is going on; the worker has not joined its group yet."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would send the login on, to whatever address the answer names."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


class ConnectRest:
    """The workers of one Connect cluster, by any of them.

    :param patience_s: how long a request is repeated while the cluster rebalances.
    :raises SettingError: no address, or one that cannot be used.
    """

    def __init__(self, settings: Settings, patience_s: float = 60.0) -> None:
        self._url, self._patience_s = settings.connect_url.rstrip("/"), patience_s
        address = urlsplit(self._url)
        if address.scheme not in ("http", "https") or not address.hostname or address.password is not None:
            raise SettingError(
                "No Kafka Connect is named." if not self._url else "LAKEHOUSE_CONNECT_URL is no address of it.",
                "such as http://connect:8083; the login apart, in LAKEHOUSE_CONNECT_USER and _PASSWORD",
                "set LAKEHOUSE_CONNECT_URL, or give --url",
            )
        self._headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if settings.connect_user:
            login = f"{settings.connect_user}:{settings.connect_password.get_secret_value()}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()

    def plugins(self) -> list[str]:
        """Classes of the connectors that a worker has."""
        return [plugin["class"] for plugin in self._ask("GET", "/connector-plugins")]

    def problems(self, config: dict[str, str]) -> list[str]:
        """Of a connector's config: a line for each error, with its key."""
        said = self._ask("PUT", f"/connector-plugins/{quote(config['connector.class'])}/config/validate", config)
        values = [each["value"] for each in said["configs"]]
        return [f"{value['name']}: {error}" for value in values for error in value["errors"]]

    def config(self, name: str) -> dict[str, str] | None:
        """Of a connector; None if it does not exist."""
        found: dict[str, str] | None = self._ask("GET", f"/connectors/{quote(name, '')}/config", absent=None)
        return found

    def configure(self, name: str, config: dict[str, str]) -> None:
        """Create a connector, or give it another config."""
        self._ask("PUT", f"/connectors/{quote(name, '')}/config", config)

    def stop(self, name: str) -> None:
        self._ask("PUT", f"/connectors/{quote(name, '')}/stop")

    def resume(self, name: str) -> None:
        self._ask("PUT", f"/connectors/{quote(name, '')}/resume")

    def status(self, name: str) -> dict[str, Any] | None:
        """`connector` with its state, `tasks` with theirs; None for a connector that no worker has begun yet."""
        found: dict[str, Any] | None = self._ask("GET", f"/connectors/{quote(name, '')}/status", absent=None)
        return found

    def statuses(self) -> list[dict[str, Any]]:
        """Of all connectors, by name."""
        found = self._ask("GET", "/connectors?expand=status")
        return [found[name]["status"] for name in sorted(found)]

    def _ask(self, method: str, path: str, body: Any = None, **absent: None) -> Any:
        """:param absent: the answer where Connect says that there is no such thing; without it that is an error."""
        end_s = time.monotonic() + self._patience_s
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, content, self._headers, method=method)
        while True:
            try:
                with _OPENER.open(request, timeout=_ANSWER_S) as answer:
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                with error:
                    if error.code == 404 and "absent" in absent:
                        return absent["absent"]
                    if error.code not in _LATER or time.monotonic() > end_s:
                        raise self._refusal(error) from None
            except (OSError, ValueError) as error:  # not there, gone in the middle, or no JSON
                raise ServiceError(
                    f"Kafka Connect at {self._url} does not answer: {getattr(error, 'reason', error)}.",
                    "a worker's REST interface",
                    "start the worker, or correct LAKEHOUSE_CONNECT_URL",
                ) from None
            time.sleep(_PAUSE_S)

    def _refusal(self, error: urllib.error.HTTPError) -> ServiceError:
        if error.code in (401, 403):
            return ServiceError(
                f"Kafka Connect at {self._url} does not let us in (HTTP {error.code}).",
                "a login that it knows",
                "check LAKEHOUSE_CONNECT_USER and LAKEHOUSE_CONNECT_PASSWORD",
            )
        if 300 <= error.code < 400:
            return ServiceError(
                f"Kafka Connect at {self._url} sends us on to {error.headers.get('Location')} (HTTP {error.code}).",
                "the worker itself: our login goes nowhere else",
                "name that address in LAKEHOUSE_CONNECT_URL if it is yours",
            )
        said = error.read().decode(errors="replace")
        try:
            said = json.loads(said)["message"]
        except (ValueError, KeyError, TypeError):
            said = said[:200]
        waited = f" for {self._patience_s:.0f} s" if error.code in _LATER else ""
        return ServiceError(f"Kafka Connect at {self._url} refuses{waited} (HTTP {error.code}): {said}")
