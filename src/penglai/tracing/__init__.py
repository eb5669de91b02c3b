"""Traces of a machine, for viewers of the trace event format, such as ui.perfetto.dev."""
