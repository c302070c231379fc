"""What carries queued mail to its places: routes, connections, retries, bounces."""
