"""A receiver of Security Event Tokens from another house (RFC 8935).

It checks each token with PyJWT against the published keys, and writes what it got as one line of JSON each. The first answers
can be wrong ones: --answers 503,drop,400:access_denied,slow is a server that fails, hangs up, refuses and delays before it
comes to its senses. --never old- doesn't take events of accounts whose ids begin so, as one whose keys are not known yet.
"""

import argparse
import http.server
import json
import sys
import time

import jwt

ISSUER = "https://id.example.com"
SLOW_SECONDS = 12


def checked(token, audience, keys):
    """The claims of a token that holds, or what is wrong with it."""
    header = jwt.get_unverified_header(token)
    if header["typ"] != "secevent+jwt":
        raise jwt.InvalidTokenError("typ")
    key = next(key for key in keys.keys if key.key_id == header["kid"])
    options = {"require": ["iss", "iat", "jti", "aud", "toe", "txn", "sub_id", "events"]}
    return jwt.decode(token, key, algorithms=["EdDSA"], audience=audience, issuer=ISSUER, options=options)


class Receiver(http.server.BaseHTTPRequestHandler):
    answers: list = []
    audience = ""
    bearer = ""
    never = ""
    keys = None

    def do_POST(self):
        token = self.rfile.read(int(self.headers["content-length"])).decode()
        answer = self.answers.pop(0) if self.answers else "202"
        seen = {"answer": answer, "path": self.path}
        try:
            assert self.headers["content-type"] == "application/secevent+jwt", "content-type"
            assert self.headers["authorization"] == f"Bearer {self.bearer}", "authorization"
            seen["claims"] = checked(token, self.audience, self.keys)
            if self.never and seen["claims"]["sub_id"]["sub"].startswith(self.never):
                answer = seen["answer"] = "400:invalid_audience"
        except Exception as error:  # whatever it is, the story must see it
            seen["wrong"] = repr(error)
        sys.stdout.write(json.dumps(seen) + "\n")  # in one piece: there are several threads
        sys.stdout.flush()
        if answer == "drop":
            self.close_connection = True
            return
        if answer == "slow":
            time.sleep(SLOW_SECONDS)
            answer = "202"
        status, _, word = answer.partition(":")
        body = json.dumps({"err": word, "description": "no"}).encode() if word else b""
        try:
            self.send_response(int(status))
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except BrokenPipeError:
            pass  # whoever asked has gone

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, help="listen there; without it, check the token on standard input")
    parser.add_argument("--keys", required=True, help="a file with the JWK Set")
    parser.add_argument("--audience", required=True)
    parser.add_argument("--bearer", default="")
    parser.add_argument("--answers", default="")
    parser.add_argument("--never", default="")
    args = parser.parse_args()
    with open(args.keys) as file:
        keys = jwt.PyJWKSet.from_json(file.read())
    if args.port is None:
        json.dump(checked(sys.stdin.read().strip(), args.audience, keys), sys.stdout)
        return
    Receiver.keys, Receiver.audience, Receiver.bearer = keys, args.audience, args.bearer
    Receiver.never = args.never
    Receiver.answers = [answer for answer in args.answers.split(",") if answer]
    http.server.ThreadingHTTPServer(("127.0.0.1", args.port), Receiver).serve_forever()


if __name__ == "__main__":
    main()
