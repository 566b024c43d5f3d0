"""What telemetry costs, as ratios to the plain SDK's same call in the same run. Start with `make bench`."""
