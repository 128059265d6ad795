"""What `GET /metrics` tells: the table of all metrics, how they are written, and their reference page."""
