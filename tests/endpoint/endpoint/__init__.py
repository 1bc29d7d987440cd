"""A local AWS endpoint and Lambda Runtime API for canary-gate's tests."""
