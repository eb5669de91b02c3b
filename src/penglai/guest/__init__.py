"""The host as real Linux: its image is built here, and booted on the machine beside the monitor."""
