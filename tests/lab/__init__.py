"""The fault lab: the real daemon as a process, on real sound, broker and WebSocket, and everything that can break."""
