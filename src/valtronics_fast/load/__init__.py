"""A load test of a server: what the command `bench` runs."""
