"""When: one DAG a file, wiring only."""
