"""The environment of the computation: device, torch.compile, software versions."""
