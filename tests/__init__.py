"""The tests; `tests/run` runs them, tests/README tells of them."""
