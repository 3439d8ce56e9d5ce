"""s3-server.py FOLDER [conditional]: a real S3 server for tests, OpenStack Swift with s3api in one process.

Needs Debian's python3-swift. Everything it writes lies in FOLDER, whose file system must have user attributes. It
listens on a free port of 127.0.0.1 and prints one line of JSON when it does: {"endpoint": ...}. The keys are
test:tester / testing; test:reader / reading may read what its owner lets it. It ends with its standard input.

Swift answers 501 to every conditional PUT. With "conditional" it does what S3 does (412, and 404 for If-Match on
nothing), one PUT of a key after the other.
"""
import eventlet

eventlet.monkey_patch()

import functools
import json
import os
import sys
import time
import weakref
from array import array

FOLDER = os.path.abspath(sys.argv[1])
CONDITIONAL = "conditional" in sys.argv[2:]
PIPELINE = "catch_errors gatekeeper s3api tempauth copy slo dlo symlink versioned_writes proxy-server"
FILTERS = {
    "catch_errors": {},
    "gatekeeper": {},
    # Parts may be small, so that tests need not send megabytes.
    # BUCKET.s3.test: the bucket by its host, as AWS has it.
    "s3api": {"location": "us-east-1", "min_segment_size": "1", "dns_compliant_bucket_names": "true",
              "storage_domain": "s3.test"},
    "tempauth": {"user_test_tester": "testing .admin", "user_test_reader": "reading"},
    "copy": {},
    "slo": {},
    "dlo": {},
    "symlink": {},
    "versioned_writes": {"allow_object_versioning": "true"},
}


def write(name, sections):
    with open(os.path.join(FOLDER, name), "w") as file:
        for title, settings in sections.items():
            file.write("[%s]\n" % title)
            file.writelines("%s = %s\n" % pair for pair in settings.items())


os.makedirs(os.path.join(FOLDER, "disks", "d1"), exist_ok=True)
write("swift.conf", {
    "swift-hash": {"swift_hash_path_prefix": "test", "swift_hash_path_suffix": "test"},
    "storage-policy:0": {"name": "one", "default": "yes"},
})

import swift.common.utils as utils

# It would read /etc/swift; said before anything else of it is loaded.
utils.SWIFT_CONF_FILE = os.path.join(FOLDER, "swift.conf")
utils.validate_configuration()
utils.FALLOCATE_RESERVE = 0
os.environ["TZ"] = "UTC+0"
time.tzset()

import socket

from swift.common import wsgi
from swift.common.constraints import reload_constraints
from swift.common.middleware.s3api import s3request, s3response
from swift.common.middleware.s3api.controllers import multi_upload
from swift.common.middleware.s3api.controllers.obj import ObjectController
from swift.common.ring import RingData
from swift.common.storage_policy import reload_storage_policies

reload_constraints()
reload_storage_policies()
# Parts are listed by pages of so few, so that tests need not send a thousand.
multi_upload.DEFAULT_MAX_PARTS_LISTING = 2


class Cache:
    """What tempauth keeps its tokens in; Swift brings only a client of memcached."""

    def __init__(self):
        self.kept = {}

    def get(self, key, *_args, **_kw):
        return self.kept.get(key)

    def set(self, key, value, *_args, **_kw):
        self.kept[key] = value

    def delete(self, key, *_args, **_kw):
        self.kept.pop(key, None)

    def incr(self, key, delta=1, *_args, **_kw):
        self.kept[key] = max(0, self.kept.get(key, 0) + delta)
        return self.kept[key]

    def decr(self, key, delta=1, *_args, **_kw):
        return self.incr(key, -delta)

    def set_multi(self, mapping, *_args, **_kw):
        self.kept.update(mapping)

    def get_multi(self, keys, *_args, **_kw):
        return [self.kept.get(key) for key in keys]


def keep_conditions():
    """Teaches PUT what S3 does with If-None-Match: * and If-Match."""
    names = ("If-Match", "If-None-Match")
    validate, put = s3request.S3Request._validate_headers, ObjectController.PUT
    turns = weakref.WeakValueDictionary()

    def validate_headers(self):
        taken = {}
        if self.method == "PUT":
            taken = {name: self.headers.pop(name) for name in names if name in self.headers}
        try:
            validate(self)
        finally:
            self.headers.update(taken)

    @functools.wraps(put)
    def conditional_put(self, req):
        wanted, unwanted = (req.headers.pop(name, None) for name in names)
        key = (req.container_name, req.object_name)
        with turns.setdefault(key, eventlet.semaphore.Semaphore()):
            if wanted or unwanted:
                try:
                    etag = req.get_response(self.app, "HEAD").headers["ETag"].strip('"')
                except s3response.NoSuchKey:
                    if wanted:
                        raise
                    etag = None
                if (unwanted and etag) or (wanted and wanted.strip('"') != etag):
                    raise s3response.PreconditionFailed()
            return put(self, req)

    s3request.S3Request._validate_headers = validate_headers
    ObjectController.PUT = conditional_put


def listen():
    sock = eventlet.listen(("127.0.0.1", 0), backlog=512)
    # Else some answers come 40 ms late.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def configure(kind, port):
    """One disk that holds everything, and the server for this kind of thing on it."""
    disk = {"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "d1", "weight": 1.0,
            "replication_ip": "127.0.0.1", "replication_port": port, "meta": ""}
    RingData([array("H", [0] * 4)], [disk], 30).save(os.path.join(FOLDER, kind + ".ring.gz"))
    write(kind + "-server.conf", {
        "DEFAULT": {"swift_dir": FOLDER, "devices": os.path.join(FOLDER, "disks"), "mount_check": "false",
                    "disable_fallocate": "true", "fallocate_reserve": "0"},
        "pipeline:main": {"pipeline": kind + "-server"},
        "app:%s-server" % kind: {"use": "egg:swift#" + kind, "container_update_timeout": "30"},
    })


def serve(kind, sock, wrap=lambda app: app):
    conf = os.path.join(FOLDER, kind + "-server.conf")
    app = wrap(wsgi.loadapp(conf, global_conf={"log_name": kind, "log_level": "ERROR"}))
    eventlet.spawn(eventlet.wsgi.server, sock, app, utils.NullLogger(), custom_pool=eventlet.GreenPool(1024),
                   protocol=wsgi.SwiftHttpProtocol, socket_timeout=60, capitalize_response_headers=False)


def with_cache(app):
    cache = Cache()

    def call(env, start_response):
        env["swift.cache"] = cache
        return app(env, start_response)

    return call


if CONDITIONAL:
    keep_conditions()
inner = {kind: listen() for kind in ("account", "container", "object")}
for kind, sock in inner.items():
    configure(kind, sock.getsockname()[1])
write("proxy-server.conf", {
    "DEFAULT": {"swift_dir": FOLDER},
    "pipeline:main": {"pipeline": PIPELINE},
    "app:proxy-server": {"use": "egg:swift#proxy", "account_autocreate": "true"},
    **{"filter:" + name: {"use": "egg:swift#" + name, **settings} for name, settings in FILTERS.items()},
})
for kind, sock in inner.items():
    serve(kind, sock)
outer = listen()
serve("proxy", outer, with_cache)
print(json.dumps({"endpoint": "http://127.0.0.1:%d" % outer.getsockname()[1]}), flush=True)
eventlet.hubs.trampoline(sys.stdin.fileno(), read=True)
os._exit(0)
