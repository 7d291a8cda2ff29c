"""The commands of ``g2v``, each group in a module of its own; ``cli`` puts them together."""
