"""Are days like those that a model has learned? Measures over arrays, for both models."""
