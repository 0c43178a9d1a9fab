"""Trains LeNet-BN: images and labels come in, `checkpoint.safetensors` goes out."""
