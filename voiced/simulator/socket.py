"""The WebSocket of a session, which can be as one whose network swallows everything."""

from websockets.asyncio.server import ServerConnection


class Socket(ServerConnection):
    """A server's connection."""

    _is_gone = False

    def vanish(self) -> None:
        """Take nothing any more and send nothing, not even a pong; only the end of the connection is noticed."""
        self._is_gone = True

    def data_received(self, data: bytes) -> None:
        """Take bytes; websockets calls this."""
        if not self._is_gone:
            super().data_received(data)

    def send_data(self) -> None:
        """Send what is to be sent; websockets calls this."""
        if self._is_gone:
            self.protocol.data_to_send()
        else:
            super().send_data()
