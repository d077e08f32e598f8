"""What every request passes on its way to the REST API or the console: limits, authentication, bodies, problems."""
