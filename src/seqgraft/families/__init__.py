"""The families, each loaded when its name is asked for."""
