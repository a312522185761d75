"""The Realtime protocol without I/O: events, and one codec for each dialect."""
