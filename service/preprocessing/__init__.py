"""From a picture's bytes to what the network sees."""
