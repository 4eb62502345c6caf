"""An imitation of Google Cloud Storage's XML interface, as far as remote stores use it: objects with generations and preconditions, ranges, lists,
copies, uploads in parts. It is not Google's server: what it does was written from Google's documentation and from what `object_store` sends.

    python -m checks.fake_gcs PORT [--ignore-preconditions]
"""

import hashlib
import http.server
import itertools
import sys
import threading
import urllib.parse
import xml.etree.ElementTree
from xml.sax.saxutils import escape

OBJECTS: dict[str, tuple[bytes, int]] = {}
UPLOADS: dict[str, dict[int, bytes]] = {}
NUMBERS = itertools.count(1)
LOCK = threading.Lock()
# As some servers do, which acknowledge what they do not know.
IGNORES = "--ignore-preconditions" in sys.argv


def tag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def read(self) -> tuple[str, dict[str, str], bytes]:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return urllib.parse.unquote(url.path).lstrip("/"), query, body

    def do_GET(self):
        key, query, _ = self.read()
        if "list-type" in query:
            return self.list(key.rstrip("/"), query)
        with LOCK:
            found = OBJECTS.get(key)
        if found is None:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        data, generation = found
        headers = {"ETag": tag(data), "x_goog_generation": str(generation), "Last_Modified": "Sat, 28 Nov 2026 12:00:00 GMT"}
        if self.headers.get("If-None-Match") == headers["ETag"]:
            return self.answer(304, **headers)
        if wanted := self.headers.get("Range"):
            start, end = wanted.removeprefix("bytes=").split("-")
            part = data[int(start) : int(end) + 1]
            headers["Content_Range"] = f"bytes {start}-{int(start) + len(part) - 1}/{len(data)}"
            return self.answer(206, part, **headers)
        self.answer(200, data, **headers)

    do_HEAD = do_GET

    def list(self, bucket: str, query: dict[str, str]):
        start = f"{bucket}/{query.get('prefix', '')}"
        delimiter = query.get("delimiter")
        contents, folders = [], set()
        with LOCK:
            objects = sorted(OBJECTS.items())
        for key, (data, _) in objects:
            if not key.startswith(start):
                continue
            name, rest = key[len(bucket) + 1 :], key[len(start) :]
            if delimiter and delimiter in rest:
                folders.add(name[: len(name) - len(rest)] + rest.split(delimiter)[0] + delimiter)
                continue
            contents.append(
                f"<Contents><Key>{escape(name)}</Key><LastModified>2026-11-28T12:00:00.000Z</LastModified>"
                f"<Size>{len(data)}</Size><ETag>{escape(tag(data))}</ETag></Contents>"
            )
        prefixes = [f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in sorted(folders)]
        text = f"<ListBucketResult>{''.join(contents + prefixes)}<IsTruncated>false</IsTruncated></ListBucketResult>"
        self.answer(200, text.encode())

    def put(self, key: str, data: bytes):
        condition = self.headers.get("x-goog-if-generation-match")
        with LOCK:
            now = OBJECTS.get(key, (b"", 0))[1]
            if condition is not None and int(condition) != now and not IGNORES:
                return self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            generation = 1_700_000_000_000_000 + next(NUMBERS)
            OBJECTS[key] = (data, generation)
        self.answer(200, b"<CopyObjectResult/>", ETag=tag(data), x_goog_generation=str(generation))

    def do_PUT(self):
        key, query, body = self.read()
        if "uploadId" in query:
            if query["uploadId"] not in UPLOADS:
                return self.answer(404, b"<Error><Code>NoSuchUpload</Code></Error>")
            UPLOADS[query["uploadId"]][int(query["partNumber"])] = body
            return self.answer(200, ETag=tag(body))
        if source := self.headers.get("x-goog-copy-source"):
            with LOCK:
                found = OBJECTS.get(urllib.parse.unquote(source).lstrip("/"))
            if found is None:
                return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return self.put(key, found[0])
        self.put(key, body)

    def do_POST(self):
        key, query, body = self.read()
        if "uploads" in query:
            upload = f"upload-{next(NUMBERS)}"
            UPLOADS[upload] = {}
            text = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            return self.answer(200, text.encode())
        parts = UPLOADS.pop(query["uploadId"], None)
        if parts is None:
            return self.answer(404, b"<Error><Code>NoSuchUpload</Code></Error>")
        wanted = [int(part.text) for part in xml.etree.ElementTree.fromstring(body).iter() if part.tag.endswith("PartNumber")]
        data = b"".join(parts[number] for number in wanted)
        with LOCK:
            OBJECTS[key] = (data, 1_700_000_000_000_000 + next(NUMBERS))
        text = f"<CompleteMultipartUploadResult><ETag>{escape(tag(data))}</ETag></CompleteMultipartUploadResult>"
        self.answer(200, text.encode(), ETag=tag(data), x_goog_generation=str(OBJECTS[key][1]))

    def do_DELETE(self):
        key, _, _ = self.read()
        with LOCK:
            found = OBJECTS.pop(key, None)
        self.answer(204 if found else 404)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
