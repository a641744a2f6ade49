"""aiosmtpd as the server that mail is sent through. Says what happens as JSON lines; does as JSON lines on stdin say."""

import asyncio
import base64
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


def say(**event):
    print(json.dumps(event), flush=True)


class Handler:
    mood = "take"

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if self.mood == "refuse" and address.startswith("nobody@"):
            return "550 5.1.1 There is no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        say(
            event="mail",
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            options=envelope.mail_options,
            tls=server.transport.get_extra_info("ssl_object") is not None,
            login=session.auth_data.login.decode() if session.auth_data else None,
            content=base64.b64encode(envelope.original_content).decode(),
        )
        if self.mood == "hang":
            await asyncio.sleep(3600)
        if self.mood == "late":
            await asyncio.sleep(1)
        if self.mood == "drop":
            server.transport.abort()
            await asyncio.sleep(3600)
        if self.mood == "busy":
            return "451 4.3.2 Come back later"
        if self.mood == "slow":
            await asyncio.sleep(3)
            return "451 4.3.2 Come back later"
        if self.mood == "spam":
            return "554 5.7.1 This looks like spam"
        if self.mood == "parrot":
            return "250 2.0.0 Taken from " + " ".join([handler.password, handler.encoded])
        return "250 2.0.0 Taken"


handler = Handler()


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode()) == (handler.user, handler.password)
    say(event="login", mechanism=mechanism, good=good)
    return AuthResult(success=good, handled=False, auth_data=data)


async def obey():
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        handler.mood = json.loads(line)["mood"]
        say(event="mood")


async def main():
    start = json.loads(sys.argv[1])
    handler.user, handler.password = start["user"], start["password"]
    handler.encoded = base64.b64encode(f"\0{handler.user}\0{handler.password}".encode()).decode()
    context = None
    if start.get("certificate"):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(start["certificate"], start["key"])
    implicit = start.get("tls") == "implicit"

    def factory():
        return SMTP(
            handler,
            hostname="localhost",
            enable_SMTPUTF8=True,
            authenticator=authenticate,
            auth_required=start.get("login", True),
            auth_require_tls=start.get("tls") == "starttls",
            auth_exclude_mechanism=start.get("without"),
            tls_context=None if implicit else context,
            require_starttls=start.get("tls") == "starttls",
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", start.get("port", 0), ssl=context if implicit else None)
    say(event="ready", port=server.sockets[0].getsockname()[1])
    await obey()


asyncio.run(main())
