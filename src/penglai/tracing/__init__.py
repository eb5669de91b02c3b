"""Traces of a machine, for the viewers that ui.perfetto.dev and chrome://tracing are."""
