"""Metrics, log lines, spans and the times of a request."""
