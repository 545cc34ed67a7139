"""PyTorch: one stack of real modules that runs every spec."""
