"""How to choose chunks and blocks: accesses, a model of what they cost; what to try."""
