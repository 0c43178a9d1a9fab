"""HTTP code shared by routes and middleware."""
