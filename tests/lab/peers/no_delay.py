"""impacket's connections without the delay between AUTH3, which is not answered, and the request behind it: by importing this."""
import socket

from impacket.dcerpc.v5 import transport


def connect(self, plain=transport.TCPTransport.connect):
    plain(self)
    self.get_socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return 1


transport.TCPTransport.connect = connect
