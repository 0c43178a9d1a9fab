"""`POST /predict`: images as numbers."""

from starlette.routing import Route

ROUTES: list[Route] = []
