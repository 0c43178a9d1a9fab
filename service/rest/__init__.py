"""The service's own REST routes, and the application that combines all routes."""
