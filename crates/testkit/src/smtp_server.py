"""A real SMTP server for the tests: aiosmtpd on 127.0.0.1.

    smtp_server.py PORT INBOX [CERTIFICATE KEY NAME PASSWORD]

Each mail that it takes becomes a file in the folder INBOX, numbered from 1: whom it is from and for
as headers, then the mail. With a certificate and the rest it takes mail only after STARTTLS and a
login.
"""

import asyncio
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Inbox:
    """Takes every mail."""

    def __init__(self, folder):
        self.folder = folder
        self.count = 0

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        path = os.path.join(self.folder, f"{self.count:06}.eml")
        with open(path + ".new", "wb") as file:
            file.write(f"X-Envelope-From: {envelope.mail_from}\r\n".encode())
            file.write(f"X-Envelope-To: {', '.join(envelope.rcpt_tos)}\r\n".encode())
            file.write(envelope.content)
        os.rename(path + ".new", path)
        return "250 taken"


def protection(certificate, key, name, password):
    """The options of a server that wants TLS and this login."""

    def login(server, session, envelope, mechanism, data):
        right = data.login == name.encode() and data.password == password.encode()
        # Not handled: the server says so itself when the login is wrong.
        return AuthResult(success=right, handled=False)

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return {
        "tls_context": context,
        "require_starttls": True,
        "auth_required": True,
        "authenticator": login,
    }


async def main():
    port, folder, *protected = sys.argv[1:]
    options = protection(*protected) if protected else {}
    loop = asyncio.get_running_loop()
    inbox = Inbox(folder)
    server = await loop.create_server(
        lambda: SMTP(inbox, loop=loop, **options), "127.0.0.1", int(port)
    )
    await server.serve_forever()


asyncio.run(main())
