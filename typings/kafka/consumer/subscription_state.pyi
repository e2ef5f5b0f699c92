from abc import ABC, abstractmethod
from collections.abc import Iterable

from kafka.structs import TopicPartition

class AsyncConsumerRebalanceListener(ABC):
    @abstractmethod
    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None: ...
    @abstractmethod
    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None: ...
    async def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None: ...
