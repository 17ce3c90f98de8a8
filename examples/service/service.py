"""A service that answers with a signed greeting."""
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from itsdangerous import Signer
from markupsafe import escape

signer = Signer(os.environ.get("KEY", "not secret"))


def answer(path: str) -> str:
    return f"<p>hello {escape(path.lstrip('/') or 'world')}</p>\n{signer.sign(path).decode()}\n"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = answer(self.path).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    if "--check" in sys.argv:
        print(answer("/check"), end="")
    else:
        HTTPServer(("", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()
