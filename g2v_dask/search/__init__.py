"""Exact search among the differences of all genes: what is asked of arrays, without names, files or Dask."""
