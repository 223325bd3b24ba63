"""Training: one explicit loop, towers over frozen features or drawings, runs that resume exactly."""
