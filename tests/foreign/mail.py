"""A mail relay from another house: aiosmtpd, as a company's relay is set up, with the moods that relays have.

    mail.py PORT TOLD --security starttls|tls|none [--cert PEM --key PEM] [--user NAME --password WORD]

It listens on 127.0.0.1, and on 127.0.0.2 as under a name that its certificate does not have. Everything it takes is a line of JSON at the end of TOLD. Of addresses that begin with `grey` it refuses the first two letters for
now, those that begin with `gone` it refuses for good, those that begin with `denied` twice because of us, and of a letter to one that begins with `mute` it says nothing the first time
that it takes it.
"""

import argparse
import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Relay:
    def __init__(self, told):
        self.told = told
        self.refused = {}
        self.muted = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone"):
            return f"550 5.1.1 <{address}> is unknown here"
        if address.startswith(("grey", "denied")):
            self.refused[address] = self.refused.get(address, 0) + 1
            if self.refused[address] <= 2:
                self.tell(refused=address)
                if address.startswith("grey"):
                    return f"451 4.7.1 <{address}> is greylisted"
                return f"550 5.7.1 <{address}>: relaying denied"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        for address in envelope.rcpt_tos:
            self.tell(
                to=address,
                sender=envelope.mail_from,
                id=message["Message-ID"],
                subject=message["Subject"],
                text=message.get_content(),
                tls=session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None,
                user=session.auth_data.decode() if session.auth_data else None,
            )
            if address.startswith("mute") and address not in self.muted:
                self.muted.add(address)
                server.transport.abort()
        return "250 taken"

    def tell(self, **what):
        with open(self.told, "a", encoding="utf-8") as file:
            file.write(json.dumps(what) + "\n")


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("told")
    parser.add_argument("--security", choices=["starttls", "tls", "none"], required=True)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--user")
    parser.add_argument("--password")
    args = parser.parse_args()

    context = None
    if args.cert:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(args.cert, args.key)

    def authenticate(server, session, envelope, mechanism, data):
        right = (args.user.encode(), args.password.encode())
        shown = (data.login, data.password)
        return AuthResult(success=shown == right, handled=shown == right, auth_data=data.login)

    starttls = args.security == "starttls"
    relay = Relay(args.told)

    def session():
        return SMTP(
            relay,
            hostname="relay.example",
            tls_context=context if starttls else None,
            require_starttls=starttls,
            authenticator=authenticate if args.user else None,
            auth_required=bool(args.user),
            auth_require_tls=starttls,
        )

    wrapped = context if args.security == "tls" else None
    server = await asyncio.get_running_loop().create_server(session, ["127.0.0.1", "127.0.0.2"], args.port, ssl=wrapped)

    # Ends with the story: nobody writes to its standard input.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main())
