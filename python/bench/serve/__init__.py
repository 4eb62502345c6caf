"""The benchmark of the server: models, the servers that are compared, and the comparison."""
