"""The servers that ours is measured against: the same model, the same pictures, one worker each."""
