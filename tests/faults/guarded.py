"""A broker that asks who a worker is, and lets it do what it has the right to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
)

from compose.kafka.listeners import Listener, sasl_settings
from compose.kafka.ports import HOST, free_port
from tests.kafka.broker import LocalBroker
from tests.kafka.secured import PASSWORD, USER
from tests.kafka.topics import Topics

_SETTINGS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",  # the broker itself, and the test
}
AS_WORKER = {
    "HEADRACE_KAFKA__SASL": "scram-sha-512",
    "HEADRACE_KAFKA__USERNAME": USER,
    "HEADRACE_KAFKA__PASSWORD": PASSWORD,
}
"""The variables with which a worker gets in."""


class GuardedBroker:
    """It takes everything from a test, at ``address``; workers come in at ``workers_address``, and
    may do what they were given the right to. Owned by: the test's thread."""

    def __init__(self, broker: LocalBroker, port: int) -> None:
        self.address = broker.address
        self.workers_address = f"{HOST}:{port}"

    @contextmanager
    def without_right(
        self, kind: ResourceType, name: str, operation: ACLOperation
    ) -> Iterator[None]:
        """Within the block workers may not do this to that."""
        rule = _rule(ACLPermissionType.DENY, ResourcePattern(kind, name), operation)
        with closing(KafkaAdminClient(bootstrap_servers=self.address)) as admin:
            assert not admin.create_acls([rule])["failed"]
            try:
                yield
            finally:
                admin.delete_acls([rule])

    def give_rights(self, topics: Topics) -> None:
        """Those that docs/kafka-security.md names; Kafka's ``Read`` and ``Write`` hold
        ``Describe``."""
        rights = [
            (ResourceType.TOPIC, topics.name, ACLOperation.READ),
            (ResourceType.GROUP, topics.name, ACLOperation.READ),
            (ResourceType.TOPIC, topics.results, ACLOperation.WRITE),
            (ResourceType.TOPIC, topics.dead_letters, ACLOperation.WRITE),
            (ResourceType.TOPIC, topics.dead_letters, ACLOperation.CREATE),
        ]
        rules = [
            _rule(ACLPermissionType.ALLOW, ResourcePattern(kind, name), operation)
            for kind, name, operation in rights
        ]
        with closing(KafkaAdminClient(bootstrap_servers=self.address)) as admin:
            assert not admin.create_acls(rules)["failed"]


def _rule(permission: ACLPermissionType, on: ResourcePattern, operation: ACLOperation) -> ACL:
    return ACL(f"User:{USER}", "*", operation, permission, on)


@contextmanager
def guarded_broker() -> Iterator[GuardedBroker]:
    """Runs such a broker."""
    listener = Listener(
        "GUARDED", "SASL_PLAINTEXT", free_port(), sasl_settings(("SCRAM-SHA-512",), {})
    )
    with LocalBroker([listener], {USER: PASSWORD}, _SETTINGS) as broker:
        yield GuardedBroker(broker, listener.port)
