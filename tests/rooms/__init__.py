"""The rules of the rooms: who may import whom, also by name while running."""
