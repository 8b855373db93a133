"""Asks a server twice over TLS 1.2 and twice over TLS 1.3, the second time with the session of the first.

    python resume.py 8443

Needs tlslite-ng (PyPI). One line of JSON: [version, protocol, was resumed, the content, was ended by close_notify] of each.
"""

import json
import socket
import sys

from tlslite.api import HandshakeSettings, TLSConnection

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def ask(version, session):
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = version
    connection = TLSConnection(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
    connection.handshakeClientCert(
        settings=settings, serverName="localhost", alpn=[b"http/1.1"], session=session
    )
    version, protocol = connection.getVersionName(), connection.session.appProto.decode()
    connection.write(REQUEST)
    response = b""
    # Raises TLSAbruptCloseError without a close_notify.
    while piece := connection.read(min=1, max=4096):
        response += bytes(piece)
    found = [version, protocol, bool(connection.resumed), response.split(b"\r\n\r\n")[1].decode()]
    return found, connection.session


results = []
for version in ((3, 3), (3, 4)):
    result, session = ask(version, None)
    results += [result, ask(version, session)[0]]
print(json.dumps(results))
