"""Processes that decode pictures for a worker, within limits that the kernel holds."""
