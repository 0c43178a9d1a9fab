"""What routes and middleware share of HTTP."""
