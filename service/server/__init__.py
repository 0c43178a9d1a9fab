"""The server: BentoML, circus and uvicorn are known here, and nowhere else."""
