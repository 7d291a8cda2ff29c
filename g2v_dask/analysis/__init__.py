"""Numbers about embeddings: how stable they are, and what groups of genes have in common."""
