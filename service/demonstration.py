"""The page at `/ui`."""

from starlette.routing import Route

ROUTES: list[Route] = []
