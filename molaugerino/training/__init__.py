"""Training with Lightning: objective, loop, checkpoints, evaluation."""
