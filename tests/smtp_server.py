"""A real SMTP server for the tests: aiosmtpd on a free port of 127.0.0.1.

Prints its port, then each mail that it takes, as one line of JSON. Ends with its standard input.
With a certificate, its key, a name and a password as arguments, it takes mail only after STARTTLS
and a login.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Printer:
    """Takes every mail and prints it."""

    async def handle_DATA(self, server, session, envelope):
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "data": envelope.content.decode("utf-8", "replace"),
        }
        print(json.dumps(mail), flush=True)
        return "250 taken"


def protection(certificate, key, name, password):
    """The options of a server that wants TLS and this login."""

    def login(server, session, envelope, mechanism, data):
        right = data.login == name.encode() and data.password == password.encode()
        return AuthResult(success=right)

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return {
        "tls_context": context,
        "require_starttls": True,
        "auth_required": True,
        "authenticator": login,
    }


async def main():
    loop = asyncio.get_running_loop()
    options = protection(*sys.argv[1:]) if len(sys.argv) > 1 else {}
    server = await loop.create_server(
        lambda: SMTP(Printer(), loop=loop, **options), "127.0.0.1", 0
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
