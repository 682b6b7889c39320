"""What runs and tests nothing: benchmarks, pictures, executing notebooks, a check of a GPU."""
