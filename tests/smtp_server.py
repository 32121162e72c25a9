"""A real SMTP server for the tests: aiosmtpd on a free port of 127.0.0.1.

Prints its port, then each mail that it takes, as one line of JSON. Ends with its standard input.
"""

import asyncio
import json
import sys

from aiosmtpd.smtp import SMTP


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


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Printer(), loop=loop), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
