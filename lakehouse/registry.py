"""The schema registry: which schema an id stands for, and whether a new schema may follow the old ones.

It is asked by Confluent's client, whose API Apicurio and others have too.
"""

from __future__ import annotations

import logging
import urllib.parse
from dataclasses import dataclass

from lakehouse.errors import InputError, MissingExtraError, ServiceError, SettingError
from lakehouse.settings import Settings

COMPATIBILITY = "BACKWARD"
_AS_STRICT = (COMPATIBILITY, "BACKWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE")
# Error codes of the API. A 404 without one is no answer of a registry, but of a server that has none at this address.
_NO_SUBJECT, _NO_SUCH_SCHEMA, _NO_LEVEL = 40401, 40403, 40408
_REFUSED = (409, 422)
_TIMEOUT_S = 5.0

log = logging.getLogger("lakehouse")


@dataclass(frozen=True)
class KnownSchema:
    """:param text: the schema in JSON, with all that it refers to; of another kind than Avro, as it is.
    :param subjects: under which the registry has it, such as `store-events-value 3`.
    """

    text: str
    subjects: tuple[str, ...]


class Registry:
    """:raises SettingError: the address cannot be used.
    :raises MissingExtraError: the extra `avro` is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = _address(settings)
        try:
            import httpx2
            from confluent_kafka import schema_registry
        except ImportError as error:
            raise missing_extra() from error
        self._library, self._outages = schema_registry, (httpx2.HTTPError, ValueError)
        config = {"url": self._url, "max.retries": 0, "timeout": _TIMEOUT_S}
        if settings.registry_user:
            config["basic.auth.user.info"] = f"{settings.registry_user}:{settings.registry_password.get_secret_value()}"
        self._client = schema_registry.SchemaRegistryClient(config)

    def schema(self, schema_id: int) -> KnownSchema | None:
        """What the id stands for; None when the registry denies it.

        :raises ServiceError: it does not answer, does not let us in, or is no registry.
        """
        try:
            text = self._client.get_schema(schema_id, fmt="resolved").schema_str or ""
            return KnownSchema(text, self._subjects(schema_id))
        except self._library.SchemaRegistryError as error:
            if error.error_code == _NO_SUCH_SCHEMA:
                return None
            raise self._unusable(error) from None
        except self._outages as error:
            raise self._unusable(error) from None

    def _subjects(self, schema_id: int) -> tuple[str, ...]:
        """None of a schema whose versions were all deleted; the registry gives it all the same."""
        try:
            found = self._client.get_schema_versions(schema_id)
        except self._library.SchemaRegistryError as error:
            if error.error_code != _NO_SUCH_SCHEMA:
                raise
            found = []
        return tuple(sorted(f"{each.subject} {each.version}" for each in found))

    def register(self, subject: str, text: str) -> int:
        """The id of a schema, which becomes the newest of the subject if it is not there yet. A new subject gets the
        compatibility BACKWARD; one that has another level keeps it, and a warning says so.

        :raises InputError: the registry refuses it; with the registry's reason.
        :raises ServiceError: the registry does not answer, does not let us in, or is no registry.
        """
        try:
            level = self._level(subject)
            if level not in _AS_STRICT:
                log.warning(
                    "schema registry: the compatibility of %s is %s, so that a schema may come whose events we cannot"
                    " read; %s is expected: set it there",
                    subject,
                    level,
                    COMPATIBILITY,
                )
            return int(self._client.register_schema(subject, self._library.Schema(text, "AVRO")))
        except self._library.SchemaRegistryError as error:
            if error.http_status_code in _REFUSED:
                raise InputError(
                    f"The schema registry refuses a schema for {subject}: {error.error_message}",
                    f"one that is {COMPATIBILITY} compatible: a new field has a default, and no type changes",
                    "correct the schema; nothing was sent",
                ) from None
            raise self._unusable(error) from None
        except self._outages as error:
            raise self._unusable(error) from None

    def _level(self, subject: str) -> str:
        try:
            return str(self._client.get_compatibility(subject))
        except self._library.SchemaRegistryError as error:
            if error.error_code not in (_NO_SUBJECT, _NO_LEVEL):
                raise
        self._client.set_compatibility(subject, COMPATIBILITY)
        return COMPATIBILITY

    def _unusable(self, error: Exception) -> ServiceError:
        said = " ".join(str(error).split()) or type(error).__name__
        return ServiceError(
            f"The schema registry at {self._url} cannot be asked: {said}",
            "a registry with Confluent's API there",
            "start it, or correct LAKEHOUSE_REGISTRY_URL, LAKEHOUSE_REGISTRY_USER or LAKEHOUSE_REGISTRY_PASSWORD",
        )


def missing_extra() -> MissingExtraError:
    """What Avro needs is not there."""
    return MissingExtraError(
        "The packages for Avro and the schema registry are not installed.",
        "the extra `avro`",
        ".venv/bin/pip install -e '.[avro]'",
    )


def _address(settings: Settings) -> str:
    url = settings.registry_url
    if not url:
        raise SettingError(
            "LAKEHOUSE_REGISTRY_URL is empty.", "the address of a schema registry", "set it, or LAKEHOUSE_WIRE=json"
        )
    parts = urllib.parse.urlsplit(url)
    if "@" in parts.netloc:  # it would be in every message about this address
        raise SettingError(
            "LAKEHOUSE_REGISTRY_URL has a user in it.",
            "an address alone",
            "put them into LAKEHOUSE_REGISTRY_USER and LAKEHOUSE_REGISTRY_PASSWORD",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingError(f"LAKEHOUSE_REGISTRY_URL is {url!r}.", "an address such as http://registry:8081")
    return url
