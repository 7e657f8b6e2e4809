"""portside: from a repository with a Dockerfile to a load-balanced service on Amazon ECS."""

__version__ = "0.1.0"
