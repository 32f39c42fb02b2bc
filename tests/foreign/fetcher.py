"""Fetches Security Event Tokens from another house (RFC 8936), with nothing but Python's own library: HTTP/1.1 over mutual TLS.

Writes the answer to each poll as one line of JSON, and acknowledges what it got with the next, until there is nothing more.
"""

import argparse
import http.client
import json
import ssl
import sys


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--cert", required=True, help="a file with the certificate and its key")
    parser.add_argument("--polls", type=int, default=20)
    args = parser.parse_args()
    context = ssl.create_default_context(cafile=args.ca)
    context.load_cert_chain(args.cert)
    # As most libraries for HTTP do, and as http.client does where nobody says otherwise.
    context.set_alpn_protocols(["http/1.1"])
    connection = http.client.HTTPSConnection("localhost", args.port, context=context, timeout=30)
    have = []
    for _ in range(args.polls):
        body = json.dumps({"returnImmediately": True, "ack": have})
        connection.request("POST", args.path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        spoken = connection.sock.selected_alpn_protocol()
        said = {"status": response.status, "version": response.version, "alpn": spoken, "answer": answer}
        sys.stdout.write(json.dumps(said) + "\n")
        have = list(answer.get("sets", {}))
        if not have:
            break


if __name__ == "__main__":
    main()
