"""Keys, and the paths that need none."""

FIRST, SECOND = "first-key-0123456789", "second=key/with+signs.~"
WRONG = "wrong-key-0123456789"

OPEN = (
    *("/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready"),
    *("/v2/models/fashion_lenet/ready", "/v2/models/fashion_lenet/versions/1.1.0/ready"),
    *("/ui", "/ui/ui.js", "/ui/ui.css", "/ui/samples/bag.png"),
)
