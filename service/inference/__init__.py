"""Inference for requests, independent of their protocol."""
