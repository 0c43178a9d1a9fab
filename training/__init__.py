"""Train LeNet-BN: read images and labels, write `checkpoint.safetensors`."""
