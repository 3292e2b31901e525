"""The words that functions are written with: names of variables, types, fields, constants, calls, comments."""

from __future__ import annotations

VARIABLES: dict[str, tuple[str, ...]] = {
    "n": ("len", "size", "nbytes", "length", "want", "avail"),
    "cnt": ("num", "nr", "count", "nitems", "rows", "units"),
    "i": ("i", "j", "k", "pos"),
    "idx": ("idx", "index", "slot", "which", "id", "channel"),
    "buf": ("buf", "tmp", "scratch", "line", "text", "window"),
    "src": ("src", "data", "input", "payload", "bytes", "msg"),
    "str": ("name", "str", "path", "label", "key", "title"),
    "ptr": ("p", "mem", "copy", "out", "ptr", "blob"),
    "node": ("node", "item", "entry", "elem", "cur", "req"),
    "next": ("next", "after", "follow"),
    "sum": ("sum", "acc", "crc", "score", "hash"),
    "avg": ("avg", "mean", "ratio", "rate"),
    "fd": ("fd", "sock", "handle", "infd"),
    "fp": ("fp", "file", "stream", "in_file"),
    "ret": ("ret", "err", "status", "res", "got"),
    "tab": ("table", "map", "slots", "lut", "bins", "ring"),
    "val": ("val", "v", "word", "mode", "kind", "cmd"),
    "st": ("st", "info", "hdr", "reply", "desc"),
    "owned": ("owner", "banner", "cached_name", "last_error"),
    "held": ("cache", "spare", "pending", "backlog", "history"),
    "view": ("shown_name", "current_tag", "motd", "active_label"),
    "c": ("c", "ch", "byte", "sym"),
}
"""Role of a variable to the names it may take; a name is used once per function."""

CONSTANTS: dict[str, tuple[str, ...]] = {
    "CAP": (
        "MAX_NAME",
        "BUF_SIZE",
        "LINE_MAX_LEN",
        "NSLOTS",
        "MAX_ITEMS",
        "TABLE_SIZE",
        "FRAME_MAX",
        "MAX_PORTS",
        "16",
        "32",
        "64",
        "128",
    ),
    "HDR": ("HDR_LEN", "MIN_FRAME", "PREFIX_LEN", "TRAILER", "4", "8", "12"),
    "FLAG": ("F_READY", "F_DIRTY", "F_CLOSED", "F_VERBOSE", "F_CACHED", "F_ASYNC", "F_STRICT"),
    "NUM": ("1", "2", "3", "4", "5", "7", "8", "10", "15"),
    "LOG": ("log_warn", "log_info", "log_error", "printf", "trace", "debug_print"),
    "SINK": ("deliver", "submit", "consume", "send_block", "emit", "feed"),
    "WORK": ("decode_into", "fill_block", "parse_body", "load_section", "transform"),
    "TAKE": ("take_first", "dequeue", "pop_entry", "detach_oldest", "steal_item"),
    "FIND": ("find_entry", "lookup", "get_item", "search_by_key", "peek_entry"),
    "NOTE": ("set_label", "register_name", "announce", "note_string", "print_name", "publish"),
    "NODE": ("entry", "item", "record", "request", "chunk"),
    "STAT": ("hits", "errors", "bytes_seen", "updates", "ticks", "misses", "retries"),
    "ITEMS": ("weights", "levels", "limits", "delays"),
    "LOCK": ("lock", "mutex", "guard", "io_lock"),
    "LIT": ('"ready"', '"done"', '"idle"', '"none"', '"default"', '"unknown"', '"v1"', '"-"'),
    "PHRASE": ("state changed", "short input", "begin", "finished", "retrying", "queue low", "new peer", "skipped"),
}
"""Role of a constant, callee or field to its spellings; these may repeat within a function."""

DEFINES: dict[str, int] = {
    "MAX_NAME": 48,
    "BUF_SIZE": 512,
    "LINE_MAX_LEN": 80,
    "NSLOTS": 24,
    "MAX_ITEMS": 40,
    "TABLE_SIZE": 64,
    "FRAME_MAX": 96,
    "MAX_PORTS": 20,
    "HDR_LEN": 10,
    "MIN_FRAME": 14,
    "PREFIX_LEN": 6,
    "TRAILER": 4,
}
"""Values of the size macros, for functions that stand below their ``#define``."""

FIELDS: dict[str, tuple[str, ...]] = {
    "size_t": ("in_len", "body_len", "msg_size", "block_size", "data_len", "want_len", "part_len"),
    "int": ("req_count", "index_hint", "cell_no", "nr_wanted", "delta", "offset_hint"),
    "unsigned int": ("nr_records", "nr_blocks", "pixel_count", "elem_count", "nr_cells"),
    "const uint8_t *": ("payload", "frame", "cursor", "raw_data", "body"),
    "const char *": ("title", "path", "user_name", "reply_text", "peer_label"),
    "FILE *": ("stream", "backing", "journal"),
}
"""Fields of the context by type, from which a function may read its inputs instead of taking parameters."""

CONTEXTS: tuple[tuple[str, str, str], ...] = (
    ("net", "net_conn", "conn"),
    ("img", "image_decoder", "dec"),
    ("fs", "volume", "vol"),
    ("db", "db_table", "tbl"),
    ("audio", "audio_track", "track"),
    ("usb", "usb_device", "dev"),
    ("cfg", "config_parser", "parser"),
    ("cache", "page_cache", "cache"),
    ("tls", "tls_session", "sess"),
    ("mq", "msg_queue", "queue"),
)
"""Prefix of the function's name, struct of its context, and the context's usual variable."""

VERBS = ("read", "load", "parse", "handle", "update", "flush", "copy", "build", "process", "set", "import", "apply")
NOUNS = ("header", "record", "options", "block", "message", "table", "entry", "section", "frame", "index", "segment")
TAILS = ("", "", "", "_locked", "_fast", "_v2", "_internal", "_one", "_all")

FAIL_CODES: dict[str, tuple[str, ...]] = {
    "int": ("-1", "-1", "-EINVAL", "-EIO"),
    "long": ("-1",),
    "bool": ("false",),
    "void": ("",),
}
"""What a function of each return type returns when it gives up."""
DONE_CODES: dict[str, tuple[str, ...]] = {"int": ("0", "0", "1"), "long": ("0", "1"), "bool": ("true",), "void": ("",)}

COMMENTS = (
    "nothing to do for idle peers",
    "keep the counters in step",
    "see the format description, section 3",
    "the caller holds a reference",
    "values come straight from the wire",
    "check the bounds first",
    "must stay in this order",
    "length is in bytes",
    "freed by the owner",
    "may be NULL on old versions",
    "not reached in normal operation",
    "best effort",
    "round trip with the peer",
    "TODO: make this configurable",
    "safe: already validated",
    "historic behaviour, do not change",
)
"""Remarks that are drawn without regard to the label, as remarks often are."""
