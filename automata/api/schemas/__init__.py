"""The models behind /openapi.json, a file a resource.

Bodies of requests are checked with these models. Answers are built by the functions of each resource and only described
here (a test holds every answer against its model): validating our own rows twice would cost the hot path.
"""
