"""Readers for the images of a large input: folders, archives, IDX and Parquet files."""
