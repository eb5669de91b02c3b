"""The penglai command."""
