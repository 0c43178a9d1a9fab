"""Images and labels: IDX files read, checked, split, augmented and turned into tensors."""
