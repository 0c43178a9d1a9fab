"""Train a network: read images and labels, write `checkpoint.safetensors`."""
