"""The image's /etc/passwd and /etc/group, odd ones too: as COPY --chown and as USER read them."""

from ..case import group

PASSWD = (
    "root:x:0:0::/root:/bin/sh\n"
    "#note:x:11:12::/:\n"
    "  # note2:x:11:12::/:\n"
    "\n"
    "+::::::\n"
    "+@nis:x:13:14::/:\n"
    "  lead:x:21:22::/lead:\n"
    "cr:x:31:32::/cr:/bin/sh\r\n"
    "\r\n"
    "a\x0cfeed:x:41:42::/feed:\n"
    "b\x0bvt:x:41:42::/vt:\n"
    "c\x1cfs:x:41:42::/fs:\n"
    "d\u2028ls:x:41:42::/ls:\n"
    "e\rmid:x:41:42::/mid:\n"
    "\u00a0nb:x:43:44::/nb:\n"
    "short:x:51\n"
    "alone\n"
    "1234:x:61:62::/numeric:\n"
    "plus:x:+71:+72::/plus:\n"
    "bad:x:abc:81::/bad:\n"
    "under:x:1_0:82::/under:\n"
    "space:x: 91:92::/space:\n"
    "many:x:101:102::/many:/bin/sh:and:more\n"
    "twice:x:111:112::/first:\n"
    "twice:x:113:114::/second:\n"
    "other:x:111:115::/third:\n"
    ":x:121:122::/nameless:\n"
    "two words:x:131:132::/two:\n"
    "hex:x:0x10:133::/hex:\n"
    "zeros:x:0000141:0142::/zeros:\n"
)
GROUP = (
    "root:x:0:\n"
    "#g:x:11:\n"
    "  lead:x:22:lead\n"
    "cr:x:32:cr\r\n"
    "extra:x:33:cr,lead\r\n"
    "a\x0cfeed:x:42:\n"
    "short:x\n"
    "bare:x:52\n"
    "4321:x:62:\n"
    "plus:x:+72:\n"
    "commas:x:73:,lead,,plus\n"
    "blank:x:74: lead , plus\n"
    "twice:x:75:\n"
    "twice:x:76:twice\n"
)
FILES = {"passwd": PASSWD, "group": GROUP, "f": "f"}
SHELL = "FROM busybox\nCOPY passwd group /etc/\n"
case = group("users", FILES)

NAMES = ("lead", "cr", "feed", "vt", "fs", "ls", "mid", "nb", "short", "alone", "1234", "plus", "bad", "under", "space")
MORE = ("many", "twice", "other", "hex", "zeros", "+", "+@nis", "ghost", "#note", "root")
case(
    "chown",
    "FROM scratch\nCOPY passwd group /etc/\n"
    + "".join(f"COPY --chown={name}:0 f /u/{name}\n" for name in (*NAMES, *MORE))
    + "".join(f"COPY --chown={name} f /both/{name}\n" for name in (*NAMES, *MORE)),
)
GROUPS = ("lead", "cr", "extra", "feed", "short", "bare", "4321", "plus", "twice", "ghost", "#g", "root")
case(
    "chgrp",
    "FROM scratch\nCOPY passwd group /etc/\n" + "".join(f"COPY --chown=0:{name} f /g/{name}\n" for name in GROUPS),
)
KNOWN = ("lead", "cr", "short", "alone", "1234", "61", "plus", "bad", "under", "space", "many", "twice", "111", "hex")
case(
    "user",
    SHELL
    + "".join(
        f"USER {name}\nRUN echo $(id -u) $(id -g) $(id -G) $HOME > /tmp/{number}\n"
        for number, name in enumerate(
            (*KNOWN, "zeros", "+", "+@nis", "+71", "cr:extra", "cr:4321", "lead:plus", "5:+6")
        )
    ),
)
for name in ("feed", "vt", "fs", "ls", "mid", "nb", "ghost"):
    case(f"user_{name}_is_none", f"{SHELL}USER {name}\nRUN true\n")
for name in ("feed", "short", "ghost"):
    case(f"group_{name}", f"{SHELL}USER cr:{name}\nRUN id -g > /tmp/g\n")
case("user_negative", f"{SHELL}USER -5\nRUN true\n")
case("user_huge", f"{SHELL}USER 99999999999\nRUN true\n")
case("user_largest", f"{SHELL}USER 2147483647\nRUN id -u > /tmp/u\n")
case("user_past_the_largest", f"{SHELL}USER 2147483648\nRUN true\n")

LONG = {**FILES, "passwd": PASSWD + f"big:x:201:202:{'g' * 70_000}:/big:\nafter:x:203:204::/:\n"}
case("long_line_chown", "FROM scratch\nCOPY passwd group /etc/\nCOPY --chown=lead f /f\n", LONG)
case("long_line_chown_after", "FROM scratch\nCOPY passwd group /etc/\nCOPY --chown=after f /f\n", LONG)
case("long_line_user", f"{SHELL}USER after\nRUN id -u > /tmp/u\n", LONG)
case("long_line_number", f"{SHELL}USER 5\nRUN id -g > /tmp/g\n", LONG)
case("long_line_default", f"{SHELL}RUN id > /tmp/u\n", LONG)
case("long_line_numbers", f"{SHELL}USER 5:6\nRUN id -g > /tmp/g\n", LONG)
MEMBERS = {**FILES, "group": GROUP + f"big:x:201:{'m' * 70_000},lead\nafter:x:203:lead\n"}
case("long_group_line", f"{SHELL}USER lead\nRUN id -G > /tmp/g\n", MEMBERS)
case("long_group_chown", "FROM scratch\nCOPY passwd group /etc/\nCOPY --chown=lead:after f /f\n", MEMBERS)
NUMBERS = {
    **FILES,
    "passwd": "neg:x:-1:-2::/:\nless:x:-7:8::/:\nhuge:x:99999999999:5::/:\nhuger:x:99999999999999999999:5::/:\n"
    "large:x:3000000000:3000000001::/:\nlast:x:4294967294:7::/:\nlastgroup:x:7:4294967294::/:\n"
    "keep:x:4294967295:9::/:\nkeepgroup:x:9:4294967295::/:\n",
}
for name in ("neg", "less", "huge", "huger", "large", "last", "lastgroup", "keep", "keepgroup"):
    case(f"chown_{name}", f"FROM scratch\nCOPY passwd /etc/\nCOPY --chown={name} f /f\n", NUMBERS)
    case(
        f"known_{name}",
        f"FROM busybox\nCOPY passwd /etc/\nUSER {name}\nRUN id > /tmp/u\n",
        NUMBERS,
        says=("exit code: 1", "uids and gids must be in range 0-2147483647"),
        note="runc refuses the id, and says so in the step's output alone",
    )
case("user_number_large", "FROM busybox\nCOPY passwd /etc/\nUSER 3000000000\nRUN id > /tmp/u\n", NUMBERS)
case("user_numbers_large", "FROM busybox\nCOPY passwd /etc/\nUSER 3000000000:5\nRUN id > /tmp/u\n", NUMBERS)
case("user_name_number_large", "FROM busybox\nCOPY passwd /etc/\nUSER root:3000000000\nRUN id > /tmp/u\n", NUMBERS)
MUCH = {**FILES, "many": "".join(f"x{number:05}:x:9:9::{'h' * 1000}:\n" for number in range(1024))}
FILL = "for i in 1 2 3 4 5 6 7 8 9 10 11; do cat /many >> /etc/passwd; done"
FAR = (
    f"FROM busybox\nCOPY many /\nRUN echo near:x:7:8::/: > /etc/passwd && {FILL} && echo far:x:5:6::/: >> /etc/passwd\n"
)
case("far_chown", f"{FAR}COPY --chown=near f /near\n", MUCH)
case("far_user_near", f"{FAR}USER near\nRUN id -u > /tmp/u\n", MUCH)
