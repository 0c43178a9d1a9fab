"""What the arithmetic runs on: the device, torch.compile, the versions of the software."""
