"""Trains networks and publishes them as artifacts."""
