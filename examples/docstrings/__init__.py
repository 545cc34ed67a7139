"""The main job on real text: docstring body -> summary line, from composing two checkpoints to the command line."""
