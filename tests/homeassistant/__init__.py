"""voiced in a real Home Assistant, which runs headless in an environment of its own; see ``tests/homeassistant.sh``."""
