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

_USER, _PASSWORD = "worker", "correct-horse"
_ANY = "*"
_SETTINGS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",  # the broker itself, and the test
}
AS_WORKER = {
    "HEADRACE_KAFKA__SASL": "scram-sha-512",
    "HEADRACE_KAFKA__USERNAME": _USER,
    "HEADRACE_KAFKA__PASSWORD": _PASSWORD,
}
"""The variables with which a worker gets in."""


class GuardedBroker:
    """It takes everything from a test, at ``address``; workers come in at ``workers_address``, and
    may do all that isn't taken from them. Owned by: the test's thread."""

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

    def give_all_rights(self) -> None:
        """To every topic and group."""
        rules = [
            _rule(ACLPermissionType.ALLOW, ResourcePattern(kind, _ANY), ACLOperation.ALL)
            for kind in (ResourceType.TOPIC, ResourceType.GROUP)
        ]
        with closing(KafkaAdminClient(bootstrap_servers=self.address)) as admin:
            assert not admin.create_acls(rules)["failed"]


def _rule(permission: ACLPermissionType, on: ResourcePattern, operation: ACLOperation) -> ACL:
    return ACL(f"User:{_USER}", _ANY, operation, permission, on)


@contextmanager
def guarded_broker() -> Iterator[GuardedBroker]:
    """Runs such a broker."""
    listener = Listener(
        "GUARDED", "SASL_PLAINTEXT", free_port(), sasl_settings(("SCRAM-SHA-512",), {})
    )
    with LocalBroker([listener], {_USER: _PASSWORD}, _SETTINGS) as broker:
        guarded = GuardedBroker(broker, listener.port)
        guarded.give_all_rights()
        yield guarded
