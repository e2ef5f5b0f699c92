"""What the Kafka source, sink and feed share: addresses, connections, the form of a record."""
