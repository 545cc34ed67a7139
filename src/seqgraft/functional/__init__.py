"""One stack, one pair and one search as functions of a spec and of arrays, over the operations of any framework."""
