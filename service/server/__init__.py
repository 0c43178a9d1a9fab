"""The server. Only this package depends on BentoML's, circus's and uvicorn's internals."""
