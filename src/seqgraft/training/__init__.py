"""Pairs from files, batches planned by tokens, the Lightning trainer, metrics."""
