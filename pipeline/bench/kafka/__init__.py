"""What `headrace bench kafka` measures: the worker from topic to topic, beside others."""
