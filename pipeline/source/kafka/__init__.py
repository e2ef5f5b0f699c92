"""Frames from a Kafka topic, as one member of a consumer group."""

from pipeline.source.kafka.consumer import KafkaSource
from pipeline.source.kafka.options import KafkaSourceOptions

__all__ = ["KafkaSource", "KafkaSourceOptions"]
