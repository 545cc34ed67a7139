"""How good texts are: figures over a set of pairs, how sure they are, and where they are worst."""
