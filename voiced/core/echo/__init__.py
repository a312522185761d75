"""Keeps the speaker's own sound out of the microphone's, and tells when a person speaks over it."""
