"""The version of this package, read by its build as well."""

__all__ = ["__version__"]

__version__ = "0.1.0"
