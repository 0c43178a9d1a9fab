"""Images and labels: read and check IDX files, split them, augment, convert to tensors."""
