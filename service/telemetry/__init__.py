"""Metrics, access log, spans and request timing."""
