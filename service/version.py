"""What this server is called, and which version of it runs."""

SERVER = "fashion-lenet-bn"
SERVER_VERSION = "1.0.0"  # as in pyproject.toml, which is not where the service runs
