"""The JSON Schemas of what Headrace writes."""
