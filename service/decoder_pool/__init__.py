"""Decoder processes for a worker's images, with limits that the kernel enforces."""
