"""Headrace: a streaming real-time inference pipeline."""
