"""Seqgraft: any pretrained encoder in front of any pretrained decoder."""

__version__ = "0.1.0"
