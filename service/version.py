"""The server's name and version."""

SERVER = "fashion-lenet-bn"
SERVER_VERSION = "1.0.0"  # as in pyproject.toml, which is not deployed with the service
