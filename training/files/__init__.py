"""What a run writes and reads back: its folder, checkpoint and history, whole or not at all."""
