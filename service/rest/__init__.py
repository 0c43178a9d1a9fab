"""The service's own routes, and the application that has them all."""
