"""What Kafka Connect may do in a Kafka that asks who somebody is: it runs programs of others."""

from __future__ import annotations

from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
)

from lakehouse.errors import ServiceError
from lakehouse.settings import Settings

WORKERS = "lakehouse-connect"
"""The group of the workers (`group.id` in worker.properties), and what all that is theirs begins with: topics, and the
transactions of tasks. The leader's own transaction is named after the group by Connect.
"""

_LITERAL, _PREFIXED = ACLResourcePatternType.LITERAL, ACLResourcePatternType.PREFIXED


def grant_connect(admin: KafkaAdminClient, user: str, settings: Settings) -> None:
    """Lets the user write the two topics of events, read none of them, and use what is Connect's own. What it may do
    already stays; again, it changes nothing.

    :raises ServiceError: Kafka asks nobody who he is, or does not let us say.
    """
    refused = admin.create_acls(connect_rights(user, settings))["failed"]
    if refused:
        raise ServiceError(
            f"Kafka does not take the rights of {user}: {refused[0].__name__}.",
            "a cluster with an authorizer, and rights of our own to change others' (ALTER on the cluster)",
            "leave out --connect-user, or see to the rights yourself",
        )


def connect_rights(user: str, settings: Settings) -> list[ACL]:
    """Each right, as Kafka has it."""
    topic, transaction = ResourceType.TOPIC, ResourceType.TRANSACTIONAL_ID
    events = [ResourcePattern(topic, name) for name in (settings.events_topic, settings.unreadable_topic)]
    own = [ResourcePattern(kind, WORKERS, _PREFIXED) for kind in (topic, transaction, ResourceType.GROUP)]
    own.append(ResourcePattern(transaction, f"connect-cluster-{WORKERS}", _LITERAL))
    return [
        ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, pattern)
        for patterns, operation in ((events, ACLOperation.WRITE), (own, ACLOperation.ALL))
        for pattern in patterns
    ]
