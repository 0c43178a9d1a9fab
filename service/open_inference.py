"""The Open Inference Protocol, version 2, over REST."""

from starlette.routing import Route

ROUTES: list[Route] = []
